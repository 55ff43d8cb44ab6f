"""A worker with other code refuses to work: the cache would take its results for those of this."""

import pytest

from components import own_code

PRINT = "from components import own_code; print(own_code.digest())"


def test_another_process_of_the_same_code_works(python):
    own_code.check(own_code.digest())
    assert python("-c", PRINT).stdout.strip() == own_code.digest()


@pytest.mark.parametrize("file", ["components/data_gate/facts.py", "components/new.py"])
def test_another_copy_of_the_code_is_refused(file, python, project_copy):
    with (project_copy / file).open("a") as source:
        source.write("# An edit.\n")
    other = python("-c", PRINT, cwd=project_copy, PYTHONPATH=str(project_copy)).stdout.strip()
    with pytest.raises(own_code.OtherCodeError, match="start the worker pools again"):
        own_code.check(other)


def test_other_kernels_are_refused(python):
    other = python("-c", PRINT, TF_ENABLE_ONEDNN_OPTS="0").stdout.strip()
    with pytest.raises(own_code.OtherCodeError, match="TF_ENABLE_ONEDNN_OPTS"):
        own_code.check(other)


def test_what_an_editor_leaves_beside_a_file_is_no_code(python, project_copy):
    components = project_copy / "components"
    (components / ".#files.py").symlink_to("me@host.7")
    (components / ".ipynb_checkpoints").mkdir()
    (components / ".ipynb_checkpoints" / "files-checkpoint.py").write_text("# An edit.\n")
    other = python("-c", PRINT, cwd=project_copy, PYTHONPATH=str(project_copy)).stdout.strip()
    own_code.check(other)
