"""Served versions: complete or absent, with strictly increasing numbers."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from components.pusher import versions
from components.pusher.served import read_version


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def export(make_export, tmp_path):
    return make_export(tmp_path / "export")


def test_the_first_version_is_the_time(export, base):
    before = int(time.time())
    version = versions.publish(export, base)
    assert before <= version <= int(time.time())
    assert files(base / str(version)) == files(export)


def test_versions_increase_however_fast_they_follow(export, base):
    published = [versions.publish(export, base) for _ in range(30)]
    assert published == sorted(set(published))
    assert versions.served_versions(base) == published
    assert published[-1] - published[0] >= 29


def test_a_version_is_higher_than_one_from_the_future(export, base):
    """For example, after the clock was set back."""
    ahead = int(time.time()) + 10_000
    (base / str(ahead)).mkdir(parents=True)
    assert versions.publish(export, base) == ahead + 1


def test_no_version_takes_the_number_of_a_rollback_that_is_history(export, base):
    """The clock was set back after that version had been withdrawn."""
    ahead = int(time.time()) + 10_000
    earlier = versions.publish(export, base)
    later = versions.publish(export, base, rollback="{}", version=ahead)
    versions.withdraw(base, later)
    assert versions.rollback_record(base, later).exists()
    # What nobody published is no history, and leaves no number above it.
    versions.rollback_record(base, 10**18 - 1).touch()
    version = versions.publish(export, base)
    assert versions.served_versions(base) == [earlier, version]
    assert version == later + 1


def test_nothing_but_versions_counts_as_served(base, tmp_path):
    assert versions.served_versions(base) == []
    for name in ("9", "10", ".incoming-11-1", "latest", "12a", "-13", "²"):
        (base / name).mkdir(parents=True)
    (base / "14").write_text("a file is no version")
    assert versions.served_versions(base) == [9, 10]


READER = """
import pathlib, sys
base, expected = pathlib.Path(sys.argv[1]), set(sys.argv[2:])
seen, halves, done = set(), 0, False
print("ready", flush=True)
while not done:
    # Read this first, so that everything is checked once more afterwards.
    done = (base / "done").exists()
    for entry in base.iterdir():
        if entry.name.isdigit():
            seen.add(entry.name)
            found = {str(p.relative_to(entry)) for p in entry.rglob("*") if p.is_file()}
            halves += found != expected
print(len(seen), halves)
"""


def test_a_reader_sees_a_version_whole_or_not_at_all(export, base):
    base.mkdir()
    names = [str(name) for name in files(export)]
    command = [sys.executable, "-c", READER, str(base), *names]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert reader.stdout.readline() == "ready\n"
    for _ in range(25):
        versions.publish(export, base)
    (base / "done").touch()
    seen, halves = map(int, reader.communicate(timeout=60)[0].split())
    assert seen == 25
    assert halves == 0


def test_a_served_version_is_whole_at_the_moment_of_its_rename(export, base, monkeypatch):
    """The test checks what a reader of the folder sees during the copy."""
    seen = []
    copy = shutil.copytree

    def watched(*arguments, **options):
        seen.append(versions.served_versions(base))
        result = copy(*arguments, **options)
        seen.append(versions.served_versions(base))
        return result

    monkeypatch.setattr(shutil, "copytree", watched)
    version = versions.publish(export, base)
    assert len(seen) >= 2
    assert not any(seen)
    assert versions.served_versions(base) == [version]


@pytest.mark.parametrize("step", ["copy", "sync", "rename"])
def test_a_push_that_fails_leaves_what_is_served_as_it_was(
    export, base, make_export, tmp_path, monkeypatch, step
):
    versions.publish(export, base)
    before = files(base)
    other = make_export(tmp_path / "other", b"other")

    def fails(*arguments, **options):
        raise OSError(28, "No space left on device")

    if step == "copy":
        (other / "variables" / "shard").symlink_to(tmp_path / "absent")
    elif step == "sync":
        monkeypatch.setattr(os, "fsync", fails)
    else:
        monkeypatch.setattr(type(base), "rename", fails)
    with pytest.raises(OSError, match=r"No space left|No such file"):
        versions.publish(other, base)
    assert files(base) == before
    assert versions.unfinished(base) == []


def test_a_copy_that_is_not_whole_is_not_published(export, base, monkeypatch):
    """The export itself is sound: the digest is that of the copy."""
    before = versions.publish(export, base)
    copy = shutil.copytree

    def cut_short(source, target, *options):
        copied = copy(source, target, *options)
        for path in Path(target).rglob("variables.data"):
            path.write_bytes(path.read_bytes()[:-1])
        return copied

    monkeypatch.setattr(shutil, "copytree", cut_short)
    with pytest.raises(versions.ChangedExportError):
        versions.publish(export, base, digest=versions.content_digest(export))
    assert versions.served_versions(base) == [before]
    assert versions.unfinished(base) == []


def test_an_export_that_is_gone_is_not_published(base, tmp_path):
    with pytest.raises(OSError):
        versions.publish(tmp_path / "absent", base)
    assert list(base.iterdir()) == []


def test_the_digest_follows_names_and_contents_alone(make_export, tmp_path):
    first, second = make_export(tmp_path / "first"), make_export(tmp_path / "second")
    digest = versions.content_digest(first)
    assert len(digest) == 64
    os.utime(second / "saved_model.pb", (1, 1))
    (second / "saved_model.pb").chmod(0o600)
    (second / "empty").mkdir()
    assert versions.content_digest(second) == digest


@pytest.mark.parametrize(
    "change",
    [lambda file: file.write_bytes(b"grapi"), lambda file: file.rename(file.with_suffix(".pc"))],
    ids=["byte", "name"],
)
def test_the_digest_changes_with_a_byte_and_with_a_name(export, change):
    before = versions.content_digest(export)
    change(export / "saved_model.pb")
    assert versions.content_digest(export) != before


def test_the_digest_changes_with_the_place_of_a_boundary(tmp_path):
    """The same sequence of bytes, split into other files."""
    for name, contents in (("first", ("ab", "c")), ("second", ("a", "bc"))):
        (tmp_path / name).mkdir()
        for file, content in zip(("x", "y"), contents, strict=True):
            (tmp_path / name / file).write_text(content)
    first, second = (versions.content_digest(tmp_path / name) for name in ("first", "second"))
    assert first != second


def test_a_digest_needs_little_memory_whatever_the_size_of_a_file(tmp_path):
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, 2**25)
    tracemalloc.start()
    try:
        alone, in_folder = versions.file_digest(large), versions.content_digest(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert alone == hashlib.sha256(bytes(2**25)).hexdigest()
    assert in_folder == hashlib.sha256(b"large\0%d\0" % 2**25 + bytes(2**25)).hexdigest()
    assert peak < 2**22


def test_a_version_that_is_withdrawn_is_gone(export, base):
    first, second = (versions.publish(export, base) for _ in range(2))
    versions.withdraw(base, first)
    assert names(base) == [".kept", str(second)]
    assert names(base / ".kept") == [str(second)]


def test_no_reader_sees_what_a_killed_withdrawal_left(export, base, monkeypatch):
    first, second = (versions.publish(export, base) for _ in range(2))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        versions.withdraw(base, first)
    assert versions.served_versions(base) == [second]
    assert len(versions.unfinished(base)) == 2
    versions.remove_unfinished(base)
    assert names(base) == [".kept", str(second)]
    assert names(base / ".kept") == [str(second)]


def test_a_version_that_is_a_link_is_withdrawn_without_what_it_leads_to(export, base, tmp_path):
    first, second = (versions.publish(export, base) for _ in range(2))
    elsewhere = tmp_path / "another disk"
    (base / str(first)).rename(elsewhere)
    (base / str(first)).symlink_to(elsewhere)
    versions.withdraw(base, first)
    assert versions.served_versions(base) == [second]
    assert versions.unfinished(base) == []
    assert files(elsewhere) == files(export)
    assert versions.publish(export, base) > second


@pytest.mark.parametrize("number", [10**18 - 1, 10**18, 2**63 - 1])
def test_where_servers_would_load_another_version_nothing_is_published(export, base, number):
    (base / str(number)).mkdir(parents=True)
    with pytest.raises(OSError, match="no higher number") as caught:
        versions.publish(export, base)
    assert caught.value.filename == str(base / str(number))
    assert names(base) == [str(number)]


@pytest.mark.parametrize("number", [10**18 - 2, 2**63])
def test_a_version_is_published_where_servers_would_load_it(export, base, number):
    (base / str(number)).mkdir(parents=True)
    assert versions.publish(export, base) in versions.served_versions(base)


@pytest.fixture
def beside(tmp_path):
    """Files next to an export in its model artifact."""
    (tmp_path / "model").mkdir()
    for name in ("golden.npz", "statistics"):
        (tmp_path / "model" / name).write_text(f"{name} of the model")
    return sorted((tmp_path / "model").iterdir())


def test_the_files_next_to_an_export_are_kept_for_its_version(export, base, beside):
    version = versions.publish(export, base, beside)
    kept = versions.kept_folder(base, version)
    assert all((kept / path.name).read_bytes() == path.read_bytes() for path in beside)
    assert files(base / str(version)) == files(export)


def test_kept_files_are_copies(export, base, beside):
    """Damage to an artifact does not reach them."""
    version = versions.publish(export, base, beside)
    for path in (*beside, export / "saved_model.pb"):
        path.write_text("damaged in place")
    assert read_version(base, version).kept


class Killed(BaseException):
    """Replaces SIGKILL: no handler of the code under test catches it."""


def killed_at(step, monkeypatch, base, act):
    """Acts until the given rename below `base`; returns whether it was reached."""
    renames = iter(range(1, 100))
    rename = type(base).rename

    def counting(self, target):
        if next(renames) == step:
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(type(base), "rename", counting)
        try:
            act()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("step", range(1, 6))
def test_a_push_that_is_killed_leaves_a_version_with_all_that_belongs_to_it_or_nothing(
    export, base, beside, monkeypatch, step
):
    first = versions.publish(export, base, beside, "the first rollback")
    before = files(base)
    killed = killed_at(
        step, monkeypatch, base, lambda: versions.publish(export, base, beside, "the second")
    )
    assert killed == (step < 4)
    served = versions.served_versions(base)
    versions.remove_unfinished(base)
    assert versions.unfinished(base) == []
    assert versions.served_versions(base) == served
    for version in served:
        assert read_version(base, version).kept
    assert [int(path.stem) for path in versions.rollback_files(base)] == served
    assert (files(base) == before) == (served == [first])


def test_a_push_that_is_killed_after_its_version_was_seen_keeps_it_whole(
    export, base, beside, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(type(base), "rmdir", lambda _: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            versions.publish(export, base, beside, "rollback")
    (version,) = versions.served_versions(base)
    versions.remove_unfinished(base)
    assert read_version(base, version).kept
    assert len(versions.rollback_files(base)) == 1


def test_the_record_of_a_rollback_outlives_its_version(export, base, beside):
    version = versions.publish(export, base, beside, "why")
    versions.withdraw(base, version)
    (record,) = versions.rollback_files(base)
    assert (record.stem, record.read_text()) == (str(version), "why")
    assert not versions.kept_folder(base, version).exists()


def test_files_are_kept_for_a_version_that_was_put_there_by_hand(export, base, beside):
    shutil.copytree(export, base / "17")
    assert read_version(base, 17).kept == ()
    versions.keep(base, 17, beside)
    assert {path.name for path in read_version(base, 17).kept} == {path.name for path in beside}
    assert versions.unfinished(base) == []
