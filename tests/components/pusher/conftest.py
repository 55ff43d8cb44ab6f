"""Fixtures for the tests of Pusher: small exports, a serving folder, and rollbacks in it."""

import json

import pytest

from components.pusher import rollbacks, versions

DESCRIPTION = {"image_shape": [28, 28, 1], "class_names": ["Shirt", "Boot"]}


@pytest.fixture
def make_export():
    """Writes a folder that looks like a SavedModel; other `weights` make another model."""

    def make(folder, weights=b"weights"):
        (folder / "variables").mkdir(parents=True)
        (folder / "assets.extra").mkdir()
        (folder / "saved_model.pb").write_bytes(b"graph")
        (folder / "variables" / "variables.data").write_bytes(weights * 10_000)
        (folder / "assets.extra" / "image_schema.json").write_text(json.dumps(DESCRIPTION))
        return folder

    return make


@pytest.fixture
def base(tmp_path):
    return tmp_path / "serving"


@pytest.fixture
def go_back(base):
    """Serves an earlier version again, with the record of a rollback; returns the new version."""

    def weights_of(version):
        return rollbacks.kept_digests(versions.kept_folder(base, version)).weights

    def rolled_back(to):
        served = versions.served_versions(base)[-1]
        record = {
            "rolled_back_from": served,
            "rolled_back_to": to,
            "user": "ada",
            "time": "2026-11-23T09:15:00+00:00",
            "withdrawn": versions.content_digest(base / str(served)),
            "restored": versions.content_digest(base / str(to)),
            "withdrawn_weights": weights_of(served),
            "restored_weights": weights_of(to),
        }
        return versions.publish(base / str(to), base, rollback=json.dumps(record))

    return rolled_back
