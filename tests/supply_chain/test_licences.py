"""Every locked package has a licence that fits, and the bill of materials tells it."""

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from pipeline.installation import bill_of_materials, licences, packages

LOCKS = sorted(
    path.name for path in packages.FOLDER.glob("*.txt") if "==" in path.read_text(encoding="utf-8")
)
# `make audit` installs it into an environment of its own.
ELSEWHERE = "audit.txt"


@pytest.fixture
def package(tmp_path):
    """Makes an installed package with these lines of metadata."""

    def make(*lines, name="something"):
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        text = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1", *lines, ""])
        (folder / "METADATA").write_text(text, encoding="utf-8")
        return metadata.PathDistribution(folder)

    return make


def installed(lock):
    """The packages of a lock that are in this environment, whatever their version."""
    names = {name for name, _, _ in packages.pins((packages.FOLDER / lock).read_text("utf-8"))}
    return [each for name, each in packages.distributions().items() if name in names]


def test_each_lock_is_checked():
    names = {lock.name for lock in packages.LOCKS}
    assert {*names, "test.txt", "installer.txt", ELSEWHERE} <= set(LOCKS)


@pytest.mark.parametrize("lock", [name for name in LOCKS if name != ELSEWHERE])
def test_every_locked_package_has_a_licence_that_fits(lock):
    found = {each.name: licences.licence(each) for each in installed(lock)}
    assert found
    unknown = [name for name, licence in found.items() if licence is None]
    assert not unknown, f"no licence in the metadata of {unknown}: read it in their wheels"
    unfit = {name: licences.unfit(licence) for name, licence in found.items()}
    assert not {name: found for name, found in unfit.items() if found}


def test_what_was_read_in_a_wheel_is_still_needed():
    """It is stale where no lock has the package any more, or its metadata names a licence."""
    for name in licences.READ_IN_THE_WHEEL:
        package = metadata.distribution(name)
        assert any(package.name in {each.name for each in installed(lock)} for lock in LOCKS)
        assert "License-Expression" not in package.metadata
        assert not (package.metadata.get_all("License") or [])
        assert not [c for c in package.metadata.get_all("Classifier", []) if "License ::" in c]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["License-Expression: MPL-2.0 AND (Apache-2.0 OR MIT)", "License: BSD"], None),
        (["License: Apache License, Version 2.0"], "Apache-2.0"),
        (["License: MPL-2.0 AND MIT"], "MPL-2.0 AND MIT"),
        # A whole text: its first line, or else the classifier.
        (["License: BSD 3-Clause License", "        ", "        Copyright (c)"], "BSD-3-Clause"),
        (["License: Copyright 2015", "Classifier: License :: OSI Approved :: MIT License"], "MIT"),
        (
            ["License: UNKNOWN", "Classifier: License :: OSI Approved :: BSD License"],
            "LicenseRef-BSD",
        ),
        (
            [
                "License: Dual License",
                "Classifier: License :: OSI Approved",
                "Classifier: License :: OSI Approved :: BSD License",
                "Classifier: License :: OSI Approved :: Apache Software License",
            ],
            "LicenseRef-BSD AND Apache-2.0",
        ),
    ],
)
def test_the_newest_field_names_the_licence(package, lines, expected):
    expected = expected or lines[0].removeprefix("License-Expression: ")
    licence = licences.licence(package(*lines))
    assert licence == expected
    assert licences.unfit(licence) == []


@pytest.mark.parametrize(
    "lines", [[], ["License: "], ["License: see the website"], ["Classifier: Topic :: MIT License"]]
)
def test_a_package_may_name_no_licence(package, lines):
    assert licences.licence(package(*lines)) is None


@pytest.mark.parametrize(
    ("lines", "unfit"),
    [
        (["License-Expression: GPL-3.0-or-later"], ["GPL-3.0-or-later"]),
        (["License-Expression: MIT AND (AGPL-3.0-only OR ISC)"], ["AGPL-3.0-only"]),
        (
            ["License-Expression: GPL-3.0-only WITH GCC-exception-3.1 AND MIT"],
            ["GPL-3.0-only WITH GCC-exception-3.1"],
        ),
        (
            [
                "Classifier: License :: OSI Approved :: MIT License",
                "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
            ],
            ["LicenseRef-GNU-General-Public-License-v3-GPLv3"],
        ),
    ],
)
def test_a_licence_that_does_not_fit_is_named(package, lines, unfit):
    assert licences.unfit(licences.licence(package(*lines))) == unfit


@pytest.fixture(scope="module")
def bill(tmp_path_factory):
    """The file that `make sbom` writes."""
    path = tmp_path_factory.mktemp("bill") / "build" / "sbom.json"
    command = [sys.executable, "-m", "pipeline.installation.bill_of_materials", str(path)]
    ended = subprocess.run(command, cwd=packages.PROJECT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return path


def test_the_makefile_writes_the_bill():
    makefile = (packages.PROJECT / "Makefile").read_text(encoding="utf-8")
    assert "python -m pipeline.installation.bill_of_materials build/sbom.json" in makefile
    assert "/build/" in (packages.PROJECT / ".gitignore").read_text(encoding="utf-8").split()


def locked_hashes(lock):
    """The hashes of each pin: those from its line to that of the next one."""
    hashes, of_pin = {}, []
    for line in lock.splitlines():
        if pin := re.match(r"[\w.-]+==[^\s;\\]+", line):
            of_pin = hashes.setdefault(pin[0], [])
        of_pin += re.findall("--hash=sha256:([0-9a-f]+)", line)
    return hashes


def test_the_bill_lists_all_that_the_lock_installs(bill):
    written = json.loads(bill.read_text(encoding="utf-8"))
    assert (written["bomFormat"], written["specVersion"]) == ("CycloneDX", "1.6")
    lock = packages.installed_lock(Path(sys.prefix))
    properties = {each["name"]: each["value"] for each in written["metadata"]["properties"]}
    assert properties["image-pipeline:lock"] == lock.name
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    assert properties["image-pipeline:lock-sha256"] == digest
    listed = {each["name"]: each for each in written["components"]}
    assert len(listed) == len(written["components"])
    pins = packages.pins(lock.read_text(encoding="utf-8"))
    locked = locked_hashes(lock.read_text(encoding="utf-8"))
    assert {name for name, _, marker in pins if not marker} <= set(listed)
    assert set(listed) <= {name for name, _, _ in pins}
    for name, component in listed.items():
        assert component["version"] == metadata.version(name)
        assert component["purl"] == f"pkg:pypi/{name}@{component['version']}"
        assert component["licenses"] == [
            {"expression": licences.licence(metadata.distribution(name))}
        ]
        digests = [each["content"] for each in component["hashes"]]
        assert digests and all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
        # None is lost or given to another package.
        assert sorted(digests) == sorted(locked[f"{name}=={component['version']}"])


def test_the_same_environment_gives_the_same_bill(bill, tmp_path, capsys):
    assert bill_of_materials.main([str(tmp_path / "again.json")]) == 0
    assert (tmp_path / "again.json").read_bytes() == bill.read_bytes()
    assert "with licences and hashes" in capsys.readouterr().out


def test_without_a_lock_or_a_package_there_is_no_bill(tmp_path, monkeypatch, capsys):
    target = tmp_path / "sbom.json"
    lock = tmp_path / packages.RECORDS / packages.OLDER.name
    lock.parent.mkdir()
    lock.write_text("absent==1.0 --hash=sha256:" + "0" * 64, encoding="utf-8")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert bill_of_materials.main([str(target)]) == 1
    assert "absent 1.0 is not installed; expected every package" in capsys.readouterr().err
    lock.unlink()
    assert bill_of_materials.main([str(target)]) == 1
    assert "was not made from a lock file; expected" in capsys.readouterr().err
    assert not target.exists()


def test_a_bill_that_cannot_be_written_is_told(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert bill_of_materials.main([str(tmp_path / "file" / "sbom.json")]) == 1
    told = capsys.readouterr().err
    assert "cannot be written" in told and "expected a file in a folder of your own" in told


def test_a_bill_whose_writing_fails_leaves_the_old_one_alone(tmp_path, monkeypatch, capsys):
    target = tmp_path / "sbom.json"
    target.write_text("old", encoding="utf-8")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert bill_of_materials.main([str(target)]) == 1
    assert "cannot be written (No space left on device)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_text(encoding="utf-8") == "old"
