"""Versions in a bucket: a reader that goes by the rule never meets a part of one."""

import errno
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from components.object_store import ObjectExistsError, ObjectStoreError
from components.pusher import bucket as served_bucket
from components.pusher import rollbacks, versions
from components.pusher.served import read_served
from tests import s3

# Another program than ours, which goes by the rule alone: it takes the highest version with a
# marker, and says which one, and whether all its files are what the marker says.
READER = """
import hashlib, json, sys
import botocore.exceptions, botocore.session
client = botocore.session.get_session().create_client("s3")
bucket, last = sys.argv[1], None
for line in sys.stdin:
    found = client.list_objects_v2(Bucket=bucket, Prefix="served/.whole/")
    keys = [each["Key"] for each in found.get("Contents", ())]
    while found["IsTruncated"]:
        token = found["NextContinuationToken"]
        found = client.list_objects_v2(
            Bucket=bucket, Prefix="served/.whole/", ContinuationToken=token
        )
        keys += [each["Key"] for each in found["Contents"]]
    numbers = [int(key.rpartition("/")[2].removesuffix(".json")) for key in keys]
    if not numbers:
        print("none", flush=True)
        continue
    version = max(numbers)
    def read(key):
        return client.get_object(Bucket=bucket, Key="served/" + key)["Body"].read()
    bad = []
    for name, file in json.loads(read(f".whole/{version}.json")).items():
        try:
            content = read(name)
        except botocore.exceptions.ClientError as error:
            content = str(error).encode()
        if hashlib.sha256(content).hexdigest() != file["sha256"]:
            bad.append(name)
    print(version, *bad, flush=True)
"""
# A push as in the Pusher node, in a process of its own.
PUSH = """
import pathlib, sys
from components.pusher import bucket
bucket.catch_up(pathlib.Path(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture
def publish(base, make_export, tmp_path):
    """Publishes a version in the serving folder, with a kept file."""

    def published(weights=b"weights"):
        export = make_export(tmp_path / f"export-{hashlib.md5(weights).hexdigest()}", weights)
        kept = tmp_path / "statistics.pb"
        kept.write_bytes(b"of " + weights)
        return versions.publish(export, base, [kept])

    return published


@pytest.fixture
def address(bucket):
    return f"{bucket}/served"


@pytest.fixture
def reader(bucket):
    """Asks another program, by the rule for readers, which version is served."""
    process = subprocess.Popen(
        [sys.executable, "-c", READER, bucket.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask():
        process.stdin.write("\n")
        process.stdin.flush()
        return process.stdout.readline().split()

    yield ask
    process.stdin.close()
    assert process.wait() == 0


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_version_is_copied_with_all_its_files_and_the_marker_last(
    bucket, faults, address, publish, base
):
    version = publish()
    assert served_bucket.catch_up(base, address) == version
    written = [each.path for each in faults.asked if each.method == "PUT"]
    assert written[-1] == f"/{bucket.name}/served/.whole/{version}.json"
    for part in (str(version), f".kept/{version}"):
        for path, content in files(base / part).items():
            assert bucket.get(f"served/{part}/{path}") == content
    marker = json.loads(bucket.get(f"served/.whole/{version}.json"))
    assert len(marker) == len(bucket.listed("served/")) - len([".pipeline", ".whole"])
    assert served_bucket.whole_versions(address) == [version]
    faults.asked.clear()
    assert served_bucket.catch_up(base, address) is None
    assert not [each for each in faults.asked if each.method == "PUT"]


@pytest.mark.slow
def test_a_reader_in_a_loop_never_meets_a_part(address, publish, base, reader):
    """20 pushes; the reader asks as often as it can."""
    done, answers, pushed = threading.Event(), [["none"]], []

    def read():
        while not done.is_set():
            answers.append(reader())
        answers.append(reader())

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(20):
            pushed.append(publish(b"%d" % number))
            served_bucket.catch_up(base, address)
    finally:
        done.set()
        thread.join()
    numbers = [0 if answer == ["none"] else int(*answer) for answer in answers]
    assert numbers == sorted(numbers)
    assert set(numbers) <= {0, *pushed}
    assert len(set(numbers)) > 5
    assert numbers[-1] == pushed[-1]


def killed_push(faults, base, address, ending):
    """Pushes in a process that is killed when it asks to write a certain object."""
    process = []

    def rule(asked):
        if asked.method == "PUT" and asked.path.endswith(ending):
            os.kill(process[0].pid, signal.SIGKILL)
            return 500, b""
        return None

    faults.rule = rule
    command = [sys.executable, "-c", PUSH, str(base), address]
    process.append(
        subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(pathlib.Path.cwd())})
    )
    assert process[0].wait() == -signal.SIGKILL
    faults.rule = lambda asked: None


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param("saved_model.pb", marks=pytest.mark.slow),
        pytest.param("digests.json", marks=pytest.mark.slow),
        "json",
    ],
)
def test_a_push_that_is_killed_leaves_no_version_and_the_next_completes_it(
    bucket, faults, address, publish, base, reader, ending
):
    first = publish(b"first")
    served_bucket.catch_up(base, address)
    second = publish(b"second")
    ending = f".whole/{second}.json" if ending == "json" else ending
    killed_push(faults, base, address, ending)
    assert any(f"/{second}/" in key for key in bucket.listed()) or ending == "saved_model.pb"
    assert reader() == [str(first)]
    third = publish(b"third")
    assert served_bucket.catch_up(base, address) == third
    assert reader() == [str(third)]


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [(500, "InternalError", "(InternalError)"), (403, "AccessDenied", "access was denied")],
)
def test_a_failure_leaves_the_versions_that_were_there(
    faults, address, publish, base, reader, status, code, told
):
    first = publish(b"first")
    served_bucket.catch_up(base, address)
    second = publish(b"second")
    faults.refuse("PUT", "statistics.pb", status, code)
    with pytest.raises(ObjectStoreError) as caught:
        served_bucket.catch_up(base, address)
    assert told in str(caught.value) and "; expected " in str(caught.value)
    assert s3.SECRET not in str(caught.value)
    assert reader() == [str(first)]
    faults.rule = lambda asked: None
    assert served_bucket.catch_up(base, address) == second
    assert reader() == [str(second)]


def test_an_answer_that_is_lost_after_the_marker_was_written_is_no_failure(
    faults, address, publish, base
):
    version = publish()

    def rule(asked):
        if asked.method == "PUT" and ".whole/" in asked.path:
            faults.rule = lambda _: None
            return s3.CUT, b""
        return None

    faults.rule = rule
    served_bucket.catch_up(base, address)
    assert served_bucket.whole_versions(address) == [version]


def test_two_writers_with_one_number_are_told_apart(bucket, address, publish, base, monkeypatch):
    version = publish()
    monkeypatch.setattr(served_bucket, "whole_versions", lambda _: [])
    bucket.put(f"served/.whole/{version}.json", b"{}")
    with pytest.raises(ObjectExistsError, match="Another writer was quicker"):
        served_bucket.catch_up(base, address)


def test_a_newer_version_of_somebody_else_is_never_covered(bucket, address, publish, base):
    version = publish()
    bucket.put(f"served/.whole/{version + 5}.json", b"{}")
    assert served_bucket.foreign_version(base, address) == version + 5
    with pytest.raises(ObjectStoreError, match=r"holds version \d+, and .*fetch s3://"):
        served_bucket.catch_up(base, address)


def test_the_command_that_fetches_a_version_is_quoted_for_the_shell(
    bucket, address, publish, base, tmp_path
):
    version = publish()
    spaced = tmp_path / "my clothes" / base.name
    spaced.parent.mkdir()
    base.rename(spaced)
    bucket.put(f"served/.whole/{version + 5}.json", b"{}")
    with pytest.raises(ObjectStoreError) as caught:
        served_bucket.check_own(spaced, address)
    assert str(caught.value).endswith(f"fetch {address} '{spaced}'")


def test_an_older_version_of_somebody_else_is_never_covered(bucket, address, publish, base):
    """As of a smoke run with another folder: its number says nothing of whose it is."""
    version = publish()
    bucket.put(f"served/.whole/{version - 5}.json", b"{}")
    assert served_bucket.foreign_version(base, address) == version - 5
    with pytest.raises(ObjectStoreError, match=rf"holds version {version - 5}, which .*; expected"):
        served_bucket.catch_up(base, address)
    assert served_bucket.whole_versions(address) == [version - 5]


def test_a_folder_belongs_to_one_pipeline(bucket, address, publish, base, tmp_path):
    version = publish()
    served_bucket.catch_up(base, address)
    other = tmp_path / "roses" / "serving"
    shutil.copytree(base, other)
    with pytest.raises(ObjectStoreError, match=f"pipeline {tmp_path.name}; expected .*of roses"):
        served_bucket.catch_up(other, address)
    bucket.remove("served/.pipeline")
    served_bucket.catch_up(other, address)
    with pytest.raises(ObjectStoreError, match="versions of the pipeline roses; expected"):
        served_bucket.check_own(base, address)
    assert served_bucket.whole_versions(address) == [version]


def test_of_two_that_take_a_folder_one_gets_it(bucket, faults, address, base):
    def rule(asked):
        if asked.method == "PUT":
            faults.rule = lambda _: None
            bucket.put("served/.pipeline", b"roses\n")
        return None

    faults.rule = rule
    with pytest.raises(ObjectStoreError, match="versions of the pipeline roses; expected"):
        served_bucket.check_own(base, address)


def test_an_owner_that_is_no_name_is_told(bucket, address, base):
    bucket.put("served/.pipeline", b"x" * 2000)
    with pytest.raises(ObjectStoreError, match="has 2000 bytes; expected the name of a pipeline"):
        served_bucket.check_own(base, address)


def test_other_files_under_the_same_number_are_told(address, publish, base):
    version = publish()
    served_bucket.catch_up(base, address)
    model = base / str(version) / "saved_model.pb"
    model.write_bytes(b"of another machine")
    with pytest.raises(ObjectStoreError, match=r"saved_model.pb is not the file of .*; expected"):
        served_bucket.catch_up(base, address)


def test_a_version_below_one_that_is_there_is_not_fetched(address, publish, base, tmp_path):
    """No server would load it."""
    version = publish()
    served_bucket.catch_up(base, address)
    there = tmp_path / "there"
    (there / str(version + 1)).mkdir(parents=True)
    with pytest.raises(ObjectStoreError, match=rf"holds version {version + 1}, .* is {version};"):
        served_bucket.fetch_newest(address, there)
    assert versions.served_versions(there) == [version + 1]


def test_the_newest_whole_version_is_fetched_in_one_step(address, publish, base, tmp_path):
    publish(b"first")
    served_bucket.catch_up(base, address)
    version = publish(b"second")
    served_bucket.catch_up(base, address)
    there = tmp_path / "there"
    assert served_bucket.fetch_newest(address, there) == (version, True)
    assert files(there / str(version)) == files(base / str(version))
    assert read_served(there).version == version
    assert read_served(there).kept[0].read_bytes() == b"of second"
    assert versions.served_versions(there) == [version]
    assert served_bucket.fetch_newest(address, there) == (version, False)
    # It is a serving folder like any other: the next push goes on from there.
    assert served_bucket.catch_up(there, address) is None


def test_another_model_under_the_number_of_the_newest_is_told_and_kept(
    address, publish, base, tmp_path
):
    """Else `fetch` would say that the version is there, and another model would serve."""
    version = publish()
    served_bucket.catch_up(base, address)
    there = tmp_path / "there"
    served_bucket.fetch_newest(address, there)
    (there / str(version) / "saved_model.pb").write_bytes(b"of another machine")
    with pytest.raises(ObjectStoreError, match=rf"remove {there / str(version)} and fetch again"):
        served_bucket.fetch_newest(address, there)
    assert (there / str(version) / "saved_model.pb").read_bytes() == b"of another machine"


DAMAGE = {
    "a file that is gone": lambda bucket, at: bucket.remove(f"served/{at}/saved_model.pb"),
    "other content": lambda bucket, at: bucket.put(f"served/{at}/saved_model.pb", b"other"),
    "no marker": lambda bucket, at: bucket.put(f"served/.whole/{at}.json", b"[1"),
    "a marker of another form": lambda bucket, at: bucket.put(f"served/.whole/{at}.json", b"[1]"),
    "a name that leads out": lambda bucket, at: bucket.put(
        f"served/.whole/{at}.json",
        json.dumps({f"{at}/../../x": {"size": 1, "sha256": "0"}}).encode(),
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_not_as_published_is_never_fetched(
    bucket, address, publish, base, tmp_path, damage
):
    first = publish(b"first")
    served_bucket.catch_up(base, address)
    there = tmp_path / "there"
    served_bucket.fetch_newest(address, there)
    version = publish(b"second")
    served_bucket.catch_up(base, address)
    DAMAGE[damage](bucket, version)
    with pytest.raises(ObjectStoreError, match="; expected "):
        served_bucket.fetch_newest(address, there)
    assert versions.served_versions(there) == [first]
    assert sorted(path.name for path in there.iterdir()) == [".kept", str(first)]


def test_what_is_withdrawn_is_gone_marker_first(bucket, faults, address, publish, base):
    first, second = publish(b"first"), None
    served_bucket.catch_up(base, address)
    second = publish(b"second")
    served_bucket.catch_up(base, address)
    faults.asked.clear()
    served_bucket.withdraw(address, first)
    assert served_bucket.whole_versions(address) == [second]
    assert not [key for key in bucket.listed() if f"/{first}/" in key]


def test_a_folder_without_whole_versions_is_told(bucket, address, tmp_path):
    bucket.put("served/12/saved_model.pb", b"of a push that was killed")
    with pytest.raises(ObjectStoreError, match="holds no whole version; expected one with"):
        served_bucket.fetch_newest(address, tmp_path / "there")


def test_a_fetch_without_room_leaves_the_versions_that_were_there(
    address, publish, base, tmp_path, monkeypatch
):
    first = publish(b"first")
    served_bucket.catch_up(base, address)
    there = tmp_path / "there"
    served_bucket.fetch_newest(address, there)
    version = publish(b"second")
    served_bucket.catch_up(base, address)
    opened = pathlib.Path.open

    def full(path, mode="r", *arguments, **options):
        if mode == "wb" and path.name == "statistics.pb":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return opened(path, mode, *arguments, **options)

    monkeypatch.setattr(pathlib.Path, "open", full)
    with pytest.raises(OSError, match="No space left"):
        served_bucket.fetch_newest(address, there)
    assert versions.served_versions(there) == [first]
    assert not list(there.glob(".fetched-*"))
    monkeypatch.setattr(pathlib.Path, "open", opened)
    assert served_bucket.fetch_newest(address, there) == (version, True)


@pytest.mark.parametrize("is_copied", [True, False], ids=["copied", "cut off"])
def test_a_folder_that_is_fetched_knows_all_that_was_rolled_back(
    address, publish, go_back, base, tmp_path, is_copied
):
    """It knew the rollback of the newest version alone, and the other model was pushed again."""
    first, _ = publish(b"first"), publish(b"second")
    back = go_back(first)
    if is_copied:
        served_bucket.catch_up(base, address)
    third = publish(b"third")
    served_bucket.catch_up(base, address)
    there = tmp_path / "there"
    assert served_bucket.fetch_newest(address, there) == (third, True)
    assert [record.new_version for record in rollbacks.recorded(there)] == [back]
    assert rollbacks.withdrawn(there) == rollbacks.withdrawn(base) != {}
    shutil.rmtree(there / ".rollbacks")
    assert served_bucket.fetch_newest(address, there) == (third, False)
    assert rollbacks.withdrawn(there) == rollbacks.withdrawn(base)
    # Where all versions are, and the records alone were lost.
    shutil.rmtree(base / ".rollbacks")
    assert served_bucket.fetch_newest(address, base) == (third, False)
    assert rollbacks.recorded(base) == rollbacks.recorded(there)


def test_a_bucket_that_lacks_records_of_rollbacks_gets_them(
    bucket, address, publish, go_back, base
):
    go_back(publish())
    third = publish(b"third")
    served_bucket.catch_up(base, address)
    (record,) = bucket.listed("served/.rollbacks/")
    bucket.remove(record)
    assert served_bucket.catch_up(base, address) is None
    assert bucket.listed("served/.rollbacks/") == [record]
    assert served_bucket.whole_versions(address) == [third]


def test_the_record_of_a_rollback_that_never_was_is_not_copied(bucket, address, publish, base):
    version = publish()
    (base / f".incoming-{version + 1}-1").mkdir()
    (base / ".rollbacks").mkdir()
    record = {"rolled_back_from": version, "rolled_back_to": 1, "user": "ada", "time": "Monday"}
    (base / ".rollbacks" / f"{version + 1}.json").write_text(json.dumps(record))
    assert [done.new_version for done in rollbacks.recorded(base)] == [version + 1]
    served_bucket.catch_up(base, address)
    assert bucket.listed("served/.rollbacks/") == []


NO_RECORDS = {
    "half of one": b'{"rolled_back_from": 2',
    "a list": b"[]",
    "no text": b"\xff\xfe",
    "deep": b"[" * 30_000,
    "large": b" " * 70_000 + b"{}",
    "a number above its own": json.dumps(
        {"rolled_back_from": 9, "rolled_back_to": 1, "user": "ada", "time": "Monday"}
    ).encode(),
}


@pytest.mark.parametrize("content", NO_RECORDS.values(), ids=NO_RECORDS)
def test_a_damaged_record_of_a_rollback_is_left_out_and_told(
    bucket, address, publish, base, tmp_path, caplog, content
):
    version = publish()
    served_bucket.catch_up(base, address)
    bucket.put("served/.rollbacks/7.json", content)
    there = tmp_path / "there"
    assert served_bucket.fetch_newest(address, there) == (version, True)
    assert f"{address}/.rollbacks/7.json cannot be read (" in caplog.text
    assert "expected the record of a rollback. It is left out" in caplog.text
    assert rollbacks.recorded(there) == []
    assert not (there / ".rollbacks").exists()


def test_a_version_whose_own_record_is_damaged_is_fetched_without_it(
    address, publish, go_back, base, tmp_path, caplog
):
    version = go_back(publish())
    (base / ".rollbacks" / f"{version}.json").write_bytes(b"\xff")
    served_bucket.catch_up(base, address)
    assert f".rollbacks/{version}.json cannot be read (" in caplog.text
    assert served_bucket.fetch_newest(address, tmp_path / "there") == (version, True)
    assert not (tmp_path / "there" / ".rollbacks").exists()


def test_only_records_are_fetched_and_none_for_a_version_that_was_pushed(
    bucket, address, publish, base, tmp_path
):
    version = publish()
    served_bucket.catch_up(base, address)
    record = {"rolled_back_from": 2, "rolled_back_to": 1, "user": "ada", "time": "Monday"}
    for name in ("x/7.json", "seven.json", "7.txt", "7", f"{version}.json"):
        bucket.put(f"served/.rollbacks/{name}", json.dumps(record).encode())
    there = tmp_path / "there"
    for is_new in (True, False):
        assert served_bucket.fetch_newest(address, there) == (version, is_new)
        assert not (there / ".rollbacks").exists()


def test_a_record_that_is_there_is_not_replaced(bucket, address, publish, go_back, base):
    version = go_back(publish())
    third = publish(b"third")
    served_bucket.catch_up(base, address)
    before = rollbacks.recorded(base)
    record = {"rolled_back_from": 2, "rolled_back_to": 1, "user": "eve", "time": "Monday"}
    bucket.put(f"served/.rollbacks/{version}.json", json.dumps(record).encode())
    shutil.rmtree(base / str(version))
    assert served_bucket.fetch_newest(address, base) == (third, False)
    assert rollbacks.recorded(base) == before


def test_without_room_for_a_record_of_a_rollback_nothing_is_fetched(
    address, publish, go_back, base, tmp_path, monkeypatch
):
    first, _ = publish(b"first"), publish(b"second")
    go_back(first)
    version = publish(b"third")
    served_bucket.catch_up(base, address)
    there = tmp_path / "there"

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(os, "fsync", full)
        served_bucket.fetch_newest(address, there)
    assert files(there) == {}
    assert served_bucket.fetch_newest(address, there) == (version, True)
    assert rollbacks.withdrawn(there) == rollbacks.withdrawn(base) != {}
