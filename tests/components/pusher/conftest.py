"""What the tests of the pusher share: small exports."""

import pytest


@pytest.fixture
def make_export():
    """Writes a folder that looks like a SavedModel; `weights` make it another model."""

    def make(folder, weights=b"weights"):
        (folder / "variables").mkdir(parents=True)
        (folder / "assets.extra").mkdir()
        (folder / "saved_model.pb").write_bytes(b"graph")
        (folder / "variables" / "variables.data").write_bytes(weights * 10_000)
        (folder / "assets.extra" / "image_schema.json").write_text("{}")
        return folder

    return make
