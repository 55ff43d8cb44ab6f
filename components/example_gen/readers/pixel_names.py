"""Names of columns of pixels: the numbers in them say where in the image each value belongs."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

from components.example_gen.readers.folder import Shape
from components.messages import by, shown

# Longer numbers count nothing.
_NUMBER = re.compile("[0-9]{1,9}")
_FIX = "Sort or rename the columns."


def why_unordered(names: Sequence[str], shape: Shape) -> str | None:
    """Why the names contradict the order of the columns; None if they do not.

    The values of an image stand row by row, the channels of a pixel together. Names without numbers
    say nothing about that.

    Args:
      names: Names of the columns of pixels, a column for each value of an image.
      shape: Height, width and channels of an image.

    Returns:
      What was found, what was expected, how to fix it.
    """
    numbers = [tuple(map(int, _NUMBER.findall(name))) for name in names]
    if not any(numbers):
        return None
    words = [_NUMBER.sub("0", name.strip()) for name in names]
    strange = next((place for place, word in enumerate(words) if word != words[0]), None)
    if strange is not None:
        return (
            f"columns of pixels called {shown(names[0])} and {shown(names[strange])}; expected "
            f"the same word with a number each, as pixel0, pixel1 and so on. {_FIX}"
        )
    varying = [values for values in zip(*numbers, strict=True) if len(set(values)) > 1]
    counted = list(zip(*varying, strict=True))
    ranges = [range(min(values), max(values) + 1) for values in varying]
    sizes = tuple(map(len, ranges))
    if math.prod(sizes) == len(names) and all(each.start in (0, 1) for each in ranges):
        expected = itertools.product(*ranges)
        places = enumerate(zip(counted, expected, strict=True))
        wrong = next((place for place, (value, due) in places if value != due), None)
        if wrong is None:
            return _why_other_shape(names, sizes, shape)
        followed = f"{shown(names[wrong])} as column {wrong + 1}"
    else:
        followed = f"{shown(names[0])} to {shown(names[-1])}"
    return (
        f"{len(names)} columns of pixels, {followed}, whose numbers do not count up from 0 or 1 "
        "without a gap; expected the values of an image row by row, as pixel0, pixel1 and so on. "
        f"{_FIX}"
    )


def _why_other_shape(names: Sequence[str], sizes: tuple[int, ...], shape: Shape) -> str | None:
    height, width, channels = shape
    allowed = [(math.prod(shape),), shape, (height * width, channels)]
    if sizes in [tuple(size for size in each if size > 1) for each in allowed]:
        return None
    return (
        f"columns of pixels called {shown(names[0])} to {shown(names[-1])}, so {by(sizes)} values; "
        f"expected those of an image of {by(shape)}. Change the shape in the schema, give --size "
        "HxW to `init`, or rename the columns."
    )
