"""A folder for each class, with image files: CLASS/*, or train/CLASS/* and test/CLASS/*.

No folder can be called "T-shirt/top": the file `classes.toml` maps names of folders to names of
classes.
"""

from __future__ import annotations

import collections
import dataclasses
import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence, Set

import numpy as np

from components import features
from components.class_names import composed, is_showable
from components.example_gen.readers import base, image_files, leftovers, lookalikes, split_names
from components.example_gen.readers.files import Files, Listing, hash_file, require_usable
from components.example_gen.readers.folder import Folder
from components.features import IMAGE_SUFFIXES
from components.messages import counted, is_utf8, listed, shown

NAMES_FILE = "classes.toml"


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Where the class folders lie.

    Attributes:
      wrapper: Folder around all of it, with a slash at its end; usually empty.
      splits: Split of each folder that holds class folders, with a slash at its end.
    """

    wrapper: str
    splits: dict[str, int]

    def class_folder(self, path: str) -> tuple[str, str] | None:
        """The folder of the split and the name of the class folder of an image, if it has them."""
        for folder in self.splits:
            if path.startswith(folder):
                name, slash, _ = path[len(folder) :].partition("/")
                return (folder, name) if slash else None
        return None


class _Folder:
    """How many images a folder holds itself, and which of its folders hold some."""

    def __init__(self) -> None:
        self.direct = 0
        self.below: set[str] = set()


def recognise(folder: Folder) -> ClassFolders | None:
    """Opens class folders; None where there are no image files at all.

    Raises:
      ReadingError: There are images, but not in a folder for each of at least two classes.
    """
    files, listing = folder.files, folder.listing
    images = listing.with_suffix(IMAGE_SUFFIXES)
    if not images:
        return None
    layout = _layout(files, images, "", folder.is_span)
    reader = ClassFolders(folder, images, layout)
    if len(reader.folder_names) == 1 and not folder.is_span:
        raise _one_class(files, listing, layout, reader)
    return reader


def _layout(files: Files, images: Sequence[str], wrapper: str, is_span: bool) -> _Layout:
    direct, tops = _tops(images, wrapper)
    named = {name: split_names.of_name(name) for name in tops}
    if all(split is not None and not tops[name].below for name, split in named.items()):
        raise _unlabelled(files, wrapper, direct, tops)
    splits = {
        name: split for name, split in named.items() if split is not None and tops[name].below
    }
    if features.TRAIN in splits.values() or (is_span and splits and len(splits) == len(tops)):
        return _split_layout(files, wrapper, tops, splits)
    if len(splits) == len(tops):
        raise base.ReadingError(
            f"{files.shown(wrapper)} holds {_folders(splits)}, but no train/; expected images to "
            "train on. Add them as train/CLASS/*."
        )
    if len(tops) == 1 and not direct and not is_span:
        (name, top), *_ = tops.items()
        if not top.direct:
            return _layout(files, images, f"{wrapper}{name}/", is_span)
    _refuse_like_splits(files, wrapper, list(tops))
    return _Layout(wrapper, {wrapper: base.UNDECIDED})


def _tops(images: Sequence[str], wrapper: str) -> tuple[int, dict[str, _Folder]]:
    """Number of images directly in a folder, and the folders in it that hold images."""
    direct = 0
    tops: dict[str, _Folder] = collections.defaultdict(_Folder)
    for path in images:
        name, *below = path[len(wrapper) :].split("/", 2)
        if not below:
            direct += 1
        elif len(below) == 1:
            tops[name].direct += 1
        else:
            tops[name].below.add(below[0])
    return direct, dict(tops)


def _split_layout(
    files: Files, wrapper: str, tops: Mapping[str, _Folder], splits: Mapping[str, int]
) -> _Layout:
    for split in set(splits.values()):
        names = [name for name in splits if splits[name] == split]
        if len(names) > 1:
            raise base.ReadingError(
                f"{files.shown(wrapper)} holds {_folders(names)}, which all mean the split "
                f"{features.SPLITS[split]}; expected one folder for each split. Merge them."
            )
    others = [name for name in tops if split_names.of_name(name) is None]
    if len(splits) == 1 and others:
        raise base.ReadingError(
            f"{files.shown(wrapper)} holds {_folders(splits)}, which looks like a split, and "
            f"{_folders(others)}, which look like classes; expected either train/CLASS/* and "
            "test/CLASS/*, or CLASS/* alone. Move the folders that are not meant elsewhere; if "
            f"{next(iter(splits))} is a class, rename its folder and map the name in {NAMES_FILE}."
        )
    return _Layout(
        wrapper,
        {
            f"{wrapper}{name}/": split
            for name, split in sorted(splits.items())
            if not _is_unlabelled(name, tops, splits)
        },
    )


def _is_unlabelled(name: str, tops: Mapping[str, _Folder], splits: Mapping[str, int]) -> bool:
    """Whether a test folder holds one folder, which is no class, as in test/unknown/*."""
    if splits[name] != features.TEST or len(tops[name].below) > 1:
        return False
    trained = {
        inner
        for other, split in splits.items()
        if split == features.TRAIN
        for inner in tops[other].below
    }
    return bool(trained) and not tops[name].below & trained


def _refuse_like_splits(files: Files, wrapper: str, names: Sequence[str]) -> None:
    """Refuses folders such as seg_train and seg_test, which would become classes."""
    alike = [name for name in names if split_names.of_words(name) is not None]
    if len({split_names.of_words(name) for name in alike}) > 1:
        raise base.ReadingError(
            f"{files.shown(wrapper)} holds {_folders(alike)}, which look like splits; expected "
            "train/CLASS/* and test/CLASS/*. Rename them to train and test, and move the class "
            "folders directly into them."
        )


def _unlabelled(
    files: Files, wrapper: str, direct: int, tops: Mapping[str, _Folder]
) -> base.ReadingError:
    count = direct + sum(top.direct for top in tops.values())
    places = [files.shown(wrapper)] if direct else []
    places += [files.shown(f"{wrapper}{name}") for name in sorted(tops)]
    return base.ReadingError(
        f"{counted(count, 'image')} directly in {' and '.join(places)}; expected a folder per "
        "class or a manifest. Sort the images into folders called like their classes, or write a "
        "CSV file with the columns path and label beside them."
    )


def _one_class(
    files: Files, listing: Listing, layout: _Layout, reader: ClassFolders
) -> base.ReadingError:
    (name,) = reader.folder_names
    empty = _empty_folders(listing, layout, reader.filled)
    without = f" ({_folders(empty)}: no images)" if empty else ""
    return base.ReadingError(
        f"{files.shown(layout.wrapper)} holds images of one class, {shown(name)}{without}; "
        "expected a folder with images for each of at least two classes. Add the images of the "
        "other classes, each in a folder called like its class."
    )


def _folders(names: Sequence[str] | Mapping[str, object]) -> str:
    return listed([f"{name}/" for name in names])


def _empty_folders(listing: Listing, layout: _Layout, filled: Set[tuple[str, str]]) -> list[str]:
    """Class folders, with their splits, that are not among those that hold images."""
    inner = [f"{path}/" for path in listing.folders]
    level = {
        place
        for path in inner
        if (place := layout.class_folder(path)) and f"{place[0]}{place[1]}/" == path
    }
    splits = {folder.rstrip("/") for folder in layout.splits}
    return sorted({f"{folder}{name}" for folder, name in level - filled} - splits)


class ClassFolders:
    """Images in a folder for each class."""

    form = base.Form.CLASS_FOLDERS

    def __init__(self, folder: Folder, images: Sequence[str], layout: _Layout):
        """Lists the examples, and reads the names of the classes.

        Args:
          folder: The data folder.
          images: All image files.
          layout: Where the class folders lie.

        Raises:
          ReadingError: `classes.toml` is unsound, or the name of a class folder is not UTF-8.
        """
        files, listing = folder.files, folder.listing
        self._files = files
        self._layout = layout
        places = [layout.class_folder(path) for path in images]
        self._paths = [path for path, place in zip(images, places, strict=True) if place]
        # Folder of the split and name of the class folder of each of them.
        self._places = [place for place in places if place]
        outside = [path for path, place in zip(images, places, strict=True) if not place]
        # Those of all images together, each once.
        self.filled = frozenset(self._places)
        self.folder_names = sorted({name for _, name in self.filled})
        self._unusable = {
            path
            for path in self._paths
            if path in listing.doubtful and files.why_unusable(path) is not None
        }
        self.splits = split_names.known(layout.splits.values())
        self._refuse_odd_names()
        self._names_file = next(
            (
                path
                for path in (f"{layout.wrapper}{NAMES_FILE}", NAMES_FILE)
                if path in listing.paths
            ),
            None,
        )
        self._names = self._read_names()
        self._refuse_unshowable()
        splits = [folder for folder in layout.splits if folder]
        where = f" in {' and '.join(map(shown, splits))}" if splits else ""
        self.summary = (
            f"class folders with {counted(len(set(self._names.values())), 'class')}{where}"
        )
        self.doubts = _two_levels(self._within_classes())
        self.ignored = self._ignored(folder, outside)

    def _within_classes(self) -> dict[tuple[str, str], set[str]]:
        """The folders with images in each class folder; "" for images that lie there directly."""
        within: dict[tuple[str, str], set[str]] = collections.defaultdict(set)
        for path, (folder, name) in zip(self._paths, self._places, strict=True):
            inner, slash, _ = path[len(folder) + len(name) + 1 :].partition("/")
            within[folder, name].add(inner if slash else "")
        return within

    def _refuse_odd_names(self) -> None:
        for name in self.folder_names:
            if not is_utf8(name):
                raise base.ReadingError(
                    f"the class folder {shown(name)} has a name that is not UTF-8; expected the "
                    "name of a class. Rename the folder."
                )

    def _refuse_unshowable(self) -> None:
        for folder, name in self._names.items():
            if not is_showable(name):
                raise base.ReadingError(
                    f"the class of the folder {shown(folder)} is called {shown(name)}, with "
                    "control characters; expected a name in one line that is safe to show. "
                    f"Rename the folder, or map its name in {NAMES_FILE}."
                )

    def _read_names(self) -> dict[str, str]:
        """Name of the class of each class folder."""
        names = {name: name for name in self.folder_names}
        if self._names_file is None:
            return names
        mapped = _parse_names(self._files, self._names_file)
        by_form = {composed(name): name for name in names}
        for folder, name in mapped.items():
            known = folder if folder in names else by_form.get(composed(folder))
            if known is None:
                raise _unknown_folder(self._files.shown(self._names_file), folder, list(by_form))
            names[known] = name
        return names

    def _ignored(self, folder: Folder, outside: Sequence[str]) -> tuple[str, ...]:
        empty = _empty_folders(folder.listing, self._layout, self.filled)
        return (
            *leftovers.capped(_without_class(outside)),
            *((f"{_folders(empty)}: no images",) if empty else ()),
            *leftovers.lines(folder, lambda path: path == self._names_file, images_reason=None),
        )

    def sources(self) -> list[str]:
        """All images that can be opened, and `classes.toml` if it is there."""
        usable = [path for path in self._paths if path not in self._unusable]
        return [*usable, self._names_file] if self._names_file else usable

    def state(self, path: str) -> tuple[int, ...] | None:
        """What changes when a source does; None where that is unknown."""
        return self._files.state(path)

    def hash_source(self, path: str) -> str:
        """SHA-256 of the file; empty for an image that cannot be read."""
        if path == self._names_file:
            return hash_file(self._files, path)
        return image_files.hash_image(self._files, path)

    def digest_lines(self, contents: Mapping[str, str]) -> list[str]:
        """Path and digest of each file."""
        paths = [*self._paths, *([self._names_file] if self._names_file else [])]
        return [image_files.digest_line(path, contents.get(path, "")) for path in paths]

    def index(self, contents: Mapping[str, str]) -> base.Index:
        """Lists all examples: their ids are the relative paths."""
        values = sorted(set(self._names.values()))
        lookalikes.refuse_alike(values)
        numbers = {name: values.index(value) for name, value in self._names.items()}
        labels = np.empty(len(self._paths), np.int32)
        splits = np.empty(len(self._paths), np.int8)
        for position, (folder, name) in enumerate(self._places):
            labels[position] = numbers[name]
            splits[position] = self._layout.splits[folder]
        return base.Index(
            ids=image_files.ids(self._paths),
            values=tuple(values),
            labels=labels,
            splits=splits,
            contents=[contents.get(path, "") for path in self._paths],
        )

    def shards(self, index: base.Index) -> list[base.Shard]:
        """Consecutive files."""
        return image_files.shards(self._paths)

    def read(self, shard: base.Shard, contents: Mapping[str, str]) -> Iterator[base.Item]:
        """Yields the files, yet to be decoded."""
        return image_files.read(self._files, shard.files, contents)


def _two_levels(within: Mapping[tuple[str, str], Set[str]]) -> tuple[str, ...]:
    """Says if all class folders hold the same folders, which may be the classes or the splits."""
    classes = sorted({name for _, name in within})
    names = sorted(set().union(*within.values()))
    is_alike = all(len(each) == len(names) for each in within.values())
    if not is_alike or len(classes) < 2 or len(names) < 2 or "" in names:
        return ()
    turned = shown(f"{names[0]}/{classes[0]}/*")
    are_splits = all(split_names.of_name(name) is not None for name in names)
    meaning = "splits" if are_splits else "classes"
    hint = "" if are_splits else f", or give one folder alone, such as {shown(classes[0])}/"
    return (
        f"All class folders ({_folders(classes)}) hold the same folders ({_folders(names)}), which "
        f"are not taken for {meaning}. If they are the {meaning}, turn the folders around, as "
        f"{turned}{hint}.",
    )


def _without_class(paths: Sequence[str]) -> Iterator[str]:
    """A line for each folder with images that lie in no class folder of a split."""
    by_folder = collections.Counter(path.partition("/")[0] if "/" in path else "" for path in paths)
    for folder, count in sorted(by_folder.items()):
        place = f"{shown(folder)}/" if folder else "the data folder itself"
        yield f"{counted(count, 'image')} in {place}: not in a class folder, so without a label"


def _parse_names(files: Files, path: str) -> dict[str, str]:
    shown_path = files.shown(path)
    require_usable(files, path)
    try:
        with files.open(path) as stream:
            names = tomllib.loads(stream.read().decode("utf-8-sig"))
    # Numbers of thousands of digits are plain ValueErrors.
    except (ValueError, RecursionError) as error:
        raise base.ReadingError(
            f"{shown_path} is not valid TOML ({shown(str(error))}); expected lines such as "
            '"tshirt" = "T-shirt/top". Fix the line.'
        ) from error
    except OSError as error:
        raise base.ReadingError(
            f"{shown_path} cannot be read ({error}); expected a readable file. Check its rights."
        ) from error
    for folder, name in names.items():
        if not isinstance(name, str) or not name.strip():
            raise base.ReadingError(
                f"{shown_path}: {shown(folder)} has no name of a class; expected a line such as "
                '"tshirt" = "T-shirt/top". Fix the line.'
            )
    return names


def _unknown_folder(source: str, folder: str, known: list[str]) -> base.ReadingError:
    # Comparing with a very long name takes minutes.
    close = difflib.get_close_matches(folder[:100], known, n=1)
    hint = f" Did you mean {shown(close[0])}?" if close else " Remove the line."
    return base.ReadingError(
        f"{source} names the folder {shown(folder)}, which holds no images; expected names of "
        f"class folders: {listed(known)}.{hint}"
    )
