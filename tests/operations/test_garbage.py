"""The collector leaves alone what was imported, and goes on with its work."""

import gc
import weakref

import pytest

from operations import garbage


class Node:
    """Refers to itself: only the collector can free it."""

    def __init__(self):
        self.me = self


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_in_the_block_and_what_it_leaves_is_kept():
    gc.unfreeze()
    with garbage.kept():
        assert not gc.isenabled()
        left = [Node()]
    assert gc.isenabled()
    # Objects that are kept are those that the collector no longer lists.
    assert not any(found is left for found in gc.get_objects())


def test_garbage_of_before_and_of_later_is_collected():
    before = weakref.ref(Node())
    with garbage.kept():
        pass
    later = weakref.ref(Node())
    gc.collect()
    assert before() is later() is None


def test_what_is_kept_is_freed_where_nothing_refers_to_it():
    with garbage.kept():
        held = Node()
    seen = weakref.ref(held)
    held.me = None
    del held
    assert seen() is None


@pytest.mark.slow
def test_an_import_that_fails_leaves_the_collector_at_work():
    with pytest.raises(ImportError), garbage.kept():
        raise ImportError("no such library")
    assert gc.isenabled()
