"""Which spans a run takes, so that it can train on each class that any span has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from components import features
from components.class_names import composed
from components.example_gen.readers import lookalikes
from components.example_gen.readers.base import Form, Index, ReadingError
from components.messages import listed
from operations.initialization import tested
from operations.initialization.opened import Opened, Wanted, open_place
from operations.initialization.tested import Tested
from pipeline.config import Config
from pipeline.datasets.reading import reading_options
from pipeline.datasets.spans import Span, Window
from pipeline.errors import DataError


@dataclasses.dataclass(frozen=True)
class Taken:
    """The data that a run takes.

    Attributes:
      looked_at: All of it, or its newest span.
      index: The examples that a run takes, with all labels of the data.
      form: Form of the data; None where spans have several.
      ignored: What lies beside the spans, a line each.
      window: Number of newest spans to train on; None where the data has no spans.
      lacking: Classes without images to train on in the spans that a run takes by default.
      tested: What a run tests on, with the classes in the order of the index.
    """

    looked_at: Opened
    index: Index
    form: Form | None
    ignored: tuple[str, ...]
    window: int | None
    lacking: tuple[str, ...]
    tested: Tested


def whole(opened: Opened) -> Taken:
    """All of data that does not come in spans."""
    index = opened.index
    return Taken(opened, index, opened.reader.form, (), None, (), tested.of_whole(index))


def take(
    found: Sequence[Span],
    usual: Window,
    asked: Config,
    wanted: Wanted,
    notify: Callable[[str], None],
) -> Taken:
    """Reads the labels of all spans, and takes as many of them as it needs to train on each class.

    Args:
      found: The spans of the data, the newest last.
      usual: The spans that a run takes by the configuration.
      asked: Configuration; a window that it sets stays as it is.
      wanted: What the options say about the images.
      notify: Shows a line about what takes time or is unusual.

    Raises:
      DataError: The spans that a run takes have no images of a class to train on.
      ReadingError: A span that a run takes cannot be used.
    """
    newest, reference = usual.train[-1], usual.reference
    present = [span for span in found if span.number <= newest.number]
    folder = newest.folder.parent
    notify(f"{folder} holds {len(present)} spans: looking at the newest, {newest.folder.name}")
    needed = {*usual.train, reference}
    opened = {}
    # The newest first: its classes come first.
    for span in dict.fromkeys([*reversed(present), reference]):
        is_needed = span in needed
        if each := _opened(span, asked, wanted, notify, is_needed=is_needed):
            opened[span] = each
    values = tuple(
        dict.fromkeys(composed(value) for each in opened.values() for value in each.index.values)
    )
    lookalikes.refuse_alike(values)
    lacking = _untrained(values, opened, usual.train)
    train = _enough(present, opened, values, usual.train, asked)
    if missing := _untrained(values, opened, train):
        raise DataError(
            f"{folder} has no images of {listed(missing)} to train on in the spans that a run "
            "takes; expected some of each class. Add images, take more spans with spans.window, "
            "or remove the class from all spans."
        )
    forms = {each.reader.form for each in opened.values()}
    return Taken(
        looked_at=opened[newest],
        index=_joined(values, opened, train, reference),
        form=forms.pop() if len(forms) == 1 else None,
        ignored=usual.ignored,
        window=len(train),
        lacking=lacking,
        tested=_tested(values, opened, train, reference),
    )


def _opened(
    span: Span, asked: Config, wanted: Wanted, notify: Callable[[str], None], is_needed: bool
) -> Opened | None:
    """A span; None where it cannot be used and is not needed: a run that takes it refuses it."""
    options = reading_options(asked.data)
    try:
        return open_place(span.folder, options, wanted, notify, is_span=True)
    except ReadingError:
        if is_needed:
            raise
        return None


def _enough(
    present: Sequence[Span],
    opened: Mapping[Span, Opened],
    values: Sequence[str],
    usual: Sequence[Span],
    asked: Config,
) -> Sequence[Span]:
    """The fewest newest spans with images of each class to train on; else the usual ones."""
    if "window" in asked.spans.model_fields_set:
        return usual
    for count in range(len(usual), len(present) + 1):
        if not _untrained(values, opened, present[-count:]):
            return present[-count:]
    return usual


def _untrained(
    values: Sequence[str], opened: Mapping[Span, Opened], train: Sequence[Span]
) -> tuple[str, ...]:
    """The labels of which none of these spans has images to train on."""
    trained = set()
    for span in train:
        if span in opened:
            index = opened[span].index
            labels = np.unique(index.labels[index.splits != features.TEST])
            trained |= {composed(index.values[label]) for label in labels}
    return tuple(value for value in values if value not in trained)


def _tested(
    values: tuple[str, ...],
    opened: Mapping[Span, Opened],
    train: Sequence[Span],
    reference: Span,
) -> Tested:
    """What a run tests on: the test images of the reference span, or a share of its images."""
    counts = {
        span: np.bincount(
            _positions(values, each.index)[tested.candidates(each.index)], minlength=len(values)
        )
        for span, each in opened.items()
    }
    is_given = tested.gives_tests(opened[reference].index)
    return Tested(
        counts=tuple(counts[reference].tolist()),
        is_given=is_given,
        is_trained=reference in train and not is_given,
        span=reference.number,
        whole_spans=tuple(sorted(span.number for span in counts if counts[span].all())),
    )


def _positions(values: tuple[str, ...], index: Index) -> np.ndarray:
    """The position in `values` of each label of a span, int32 [labels]."""
    positions = {value: position for position, value in enumerate(values)}
    return np.array([positions[composed(value)] for value in index.values], np.int32)


def _joined(
    values: tuple[str, ...],
    opened: Mapping[Span, Opened],
    train: Sequence[Span],
    reference: Span,
) -> Index:
    """The examples of the spans that a run takes, as far as their splits are given."""
    ids, labels, splits = [], [], []
    for span in dict.fromkeys([*train, reference]):
        if span not in opened:
            continue
        index = opened[span].index
        is_test = index.splits == features.TEST
        is_taken = (~is_test & (span in train)) | (is_test & (span == reference))
        rows = np.flatnonzero(is_taken)
        ids += [f"{span.name}-{index.ids[row]}" for row in rows.tolist()]
        labels.append(_positions(values, index)[index.labels[rows]])
        splits.append(index.splits[rows])
    return Index(ids, values, np.concatenate(labels), np.concatenate(splits))
