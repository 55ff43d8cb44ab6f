"""Files of rows: any range of them, and none that is cut off."""

import numpy as np
import pytest

from components import rows

ROWS = np.array([(1, 0.5), (2, 0.25), (3, 0.125)], [("number", "<i8"), ("share", "<f4")])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rows"
    with path.open("wb") as file:
        rows.write(file, np.array([7, 8]), ROWS)
    return path


def test_any_range_is_read(path):
    found = rows.RowFile(str(path))
    np.testing.assert_array_equal(found.index, [7, 8])
    for start in range(4):
        for stop in range(start, 4):
            np.testing.assert_array_equal(found.at(start, stop), ROWS[start:stop])


@pytest.mark.parametrize("missing", [1, ROWS.dtype.itemsize])
def test_a_file_that_is_cut_off_is_told(path, missing):
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(OSError, match="is cut off; expected 3 rows"):
        rows.RowFile(str(path)).at(0, 3)
