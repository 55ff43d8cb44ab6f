"""Links, devices and odd names: nothing outside the folder is read, and every walk ends."""

import os

import pytest

from tests.components.example_gen.readers import made


@pytest.fixture
def folders(data):
    return made.write(data, "a/1.png", "b/1.png")


def odd(name):
    return os.fsdecode(name)


KINDS = {
    "a pipe": (lambda path: os.mkfifo(path), "it is a named pipe; expected a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "a link leads out of the data folder"),
    "a file outside": (lambda path: path.symlink_to("/etc/passwd"), "a link leads out of the data"),
    "nothing": (lambda path: path.symlink_to("nothing"), "the link leads to nothing; expected"),
    "itself": (lambda path: path.symlink_to(path.name), "it cannot be opened"),
    "a way out and back": (
        lambda path: path.symlink_to("../../data/../../../../../../../etc/passwd"),
        "a link leads out of the data folder",
    ),
}


@pytest.mark.parametrize("case", KINDS)
def test_what_is_no_file_of_the_folder_is_bad(folders, case):
    make, told = KINDS[case]
    make(folders / "a" / "2.png")
    read = made.read(folders)
    assert list(read.bad) == ["a/2.png"]
    assert read.bad["a/2.png"].startswith(told)
    assert read.reader.sources() == ["a/1.png", "b/1.png"]
    assert "a/2.png -\n" in read.reader.digest_lines(read.contents)


def test_a_device_is_bad_even_where_links_may_lead_out(folders):
    (folders / "a" / "2.png").symlink_to("/dev/zero")
    read = made.read(folders, outside_files=True)
    assert read.bad["a/2.png"].startswith("it is a device; expected a regular file")


def test_a_link_to_a_file_of_the_folder_is_read(folders):
    (folders / "a" / "2.png").symlink_to("../b/1.png")
    assert made.read(folders).bytes == [made.PNG] * 3


def test_a_folder_that_is_a_link_itself_is_read(folders):
    link = folders.parent / "link"
    link.symlink_to(folders)
    assert len(made.read(link).items) == 2


def test_a_link_to_a_folder_outside_is_refused_unless_allowed(folders, refusal):
    made.write(folders.parent / "outside", "deep/1.png")
    (folders / "c").symlink_to("../outside")
    assert "c is a link that leads out of the data folder; expected folders inside" in refusal()
    read = made.read(folders, outside_files=True)
    assert list(read.index.ids) == ["a/1.png", "b/1.png", "c/deep/1.png"]
    assert read.bytes == [made.PNG] * 3


def test_loops_of_links_end_and_are_told(folders):
    for place, target in (("a/up", ".."), ("a/self", "."), ("a/b", "../b"), ("b/a", "../a")):
        (folders / place).symlink_to(target)
    read = made.read(folders)
    assert list(read.index.ids) == ["a/1.png", "a/b/1.png", "b/1.png", "b/a/1.png"]
    (told,) = read.reader.ignored
    assert told.startswith("a/b/a, a/self, a/up, b/a/b, b/a/self, b/a/up: links to folders that")


def test_many_links_to_one_another_are_walked_in_bounded_time(data):
    names = [f"{number:02d}" for number in range(25)]
    for name in names:
        made.write(data, f"{name}/1.png")
        for other in names:
            (data / name / f"to{other}").symlink_to(f"../{other}")
    assert len(made.read(data).items) == 25 * 25


def test_a_name_that_is_not_utf8_is_bad_and_escaped(folders):
    name = odd(b"caf\xe9.png")
    made.write(folders, f"a/{name}")
    read = made.read(folders)
    assert read.bad == {
        "a/caf\\xe9.png": "the name is not UTF-8; expected one that is. Rename the file."
    }
    assert all(example_id.encode() for example_id in read.index.ids)
    assert all(line.isascii() for line in read.reader.digest_lines(read.contents))


def test_a_class_whose_name_is_not_utf8_is_refused(folders, refusal):
    made.write(folders, odd(b"caf\xe9/1.png"))
    assert "the class folder caf\\xe9 has a name that is not UTF-8" in refusal()


def test_two_files_that_are_equal_once_escaped_are_refused(folders, refusal):
    made.write(folders, odd(b"a/\xe9.png"), "a/\\udce9.png")
    assert "expected distinct names" in refusal()


@pytest.mark.parametrize(
    "name", ["\x1b[31mred.png", "two\nlines.png", "\u202egnp.png", "é\u2028.png"]
)
def test_names_may_hold_what_breaks_terminals(folders, name):
    made.write(folders, f"a/{name}")
    os.mkfifo(folders / "b" / name)
    read = made.read(folders)
    assert len(read.items) == 4
    assert all(bad.isprintable() for bad in read.bad)
    assert all(line.isprintable() for line in read.reader.ignored)
    assert all(
        line.removesuffix("\n").isprintable() for line in read.reader.digest_lines(read.contents)
    )


def test_the_digest_tells_names_apart_that_look_alike(data):
    made.write(data, "a/x.png", "b/1.png")
    lines = []
    for name in ("x\n.png", "x\\n.png"):
        read = made.read(made.write(data, f"a/{name}"))
        lines.append(read.reader.digest_lines(read.contents))
        (data / "a" / name).unlink()
    assert lines[0] != lines[1]


def test_a_file_that_cannot_be_read_is_bad(folders, monkeypatch):
    """Root may read every file: the system's answer is replaced."""
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("a/1.png"))
    read = made.read(folders)
    assert list(read.bad) == ["a/1.png"]
    assert "Permission denied" in read.bad["a/1.png"]
