"""The validation split: exact, stratified, repeatable, each class on its own."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from components.example_gen import split

LABELS = strategies.lists(strategies.integers(0, 3), min_size=1, max_size=120).map(
    lambda labels: np.array(sorted({0, 1, 2, 3}) * 4 + labels)
)
PER_CLASS = strategies.integers(1, 3)
SEEDS = strategies.integers(0, 2**31 - 1)


def chosen(labels, per_class, seed=1, name="train"):
    return split.choose_validation(split.example_ids(name, len(labels)), labels, per_class, seed)


@hypothesis.given(LABELS, PER_CLASS, SEEDS)
def test_each_class_gives_exactly_the_number_asked_for(labels, per_class, seed):
    validation = labels[chosen(labels, per_class, seed)]
    assert np.bincount(validation, minlength=4).tolist() == [per_class] * 4


@hypothesis.given(LABELS, PER_CLASS, SEEDS)
def test_the_same_seed_chooses_the_same_examples(labels, per_class, seed):
    np.testing.assert_array_equal(chosen(labels, per_class, seed), chosen(labels, per_class, seed))


def test_another_seed_chooses_other_examples():
    labels = np.zeros(1000, int)
    assert (chosen(labels, 100, seed=1) & chosen(labels, 100, seed=2)).sum() < 50


def test_the_choice_is_spread_over_the_file():
    """Data sorted by time or by source must not give its beginning alone."""
    positions = np.flatnonzero(chosen(np.zeros(1000, int), 500))
    assert 200 < (positions < 500).sum() < 300


def test_the_choice_is_the_same_on_every_machine():
    assert np.flatnonzero(chosen(np.zeros(20, int), 5, seed=1)).tolist() == [4, 5, 12, 17, 18]


@hypothesis.given(LABELS, PER_CLASS, SEEDS, strategies.lists(strategies.integers(0, 3)))
def test_further_examples_of_other_classes_move_none(labels, per_class, seed, further):
    kept = [label for label in further if label != 0]
    before = chosen(labels, per_class, seed)
    after = chosen(np.concatenate([labels, np.array(kept, int)]), per_class, seed)[: len(labels)]
    np.testing.assert_array_equal(before[labels == 0], after[labels == 0])


@hypothesis.given(LABELS, PER_CLASS, strategies.randoms())
def test_the_order_of_the_examples_does_not_matter(labels, per_class, random):
    ids = split.example_ids("train", len(labels))
    order = list(range(len(labels)))
    random.shuffle(order)
    mixed = split.choose_validation([ids[i] for i in order], labels[order], per_class, 1)
    np.testing.assert_array_equal(mixed, chosen(labels, per_class)[order])


SPANS = strategies.dictionaries(strategies.integers(0, 30), LABELS, min_size=1, max_size=4)


def window_of(spans):
    """Ids and labels of the examples of all spans together; LABELS has four of each class."""
    names = {number: f"span-{number}-train" for number in spans}
    ids = [name for n, labels in spans.items() for name in split.example_ids(names[n], len(labels))]
    return ids, np.concatenate(list(spans.values()))


@hypothesis.given(SPANS, PER_CLASS, SEEDS)
def test_several_files_together_give_exactly_the_number_asked_for(spans, per_class, seed):
    ids, labels = window_of(spans)
    assert len(set(ids)) == len(ids)
    validation = labels[split.choose_validation(ids, labels, per_class, seed)]
    assert np.bincount(validation, minlength=4).tolist() == [per_class] * 4


@hypothesis.given(SPANS, SPANS, PER_CLASS, SEEDS)
def test_further_spans_move_none_from_training_to_validation(spans, further, per_class, seed):
    """Those of the lowest hash are chosen: of a larger window, no other ones of its part."""
    further = {100 + number: labels for number, labels in further.items()}
    ids, labels = window_of(spans)
    before = split.choose_validation(ids, labels, per_class, seed)
    after = split.choose_validation(*window_of({**spans, **further}), per_class, seed)[: len(ids)]
    assert not (after & ~before).any()


CLASS_COUNT = 4
COUNTS = strategies.lists(strategies.integers(0, 6), min_size=CLASS_COUNT, max_size=CLASS_COUNT)


@hypothesis.given(COUNTS, COUNTS, strategies.integers(1, 4))
def test_every_class_must_have_images_in_every_split(trained, tested, per_class):
    """Whatever is absent is refused by name; what passes is in `train`, `val` and `test`."""
    train, test = (np.repeat(np.arange(CLASS_COUNT), counts) for counts in (trained, tested))
    names = ("alpha", "beta", "gamma", "delta")
    try:
        split.check_classes(trained, tested, per_class, names)
    except split.SplitError as error:
        faulty = {
            name
            for name, some, seen in zip(names, trained, tested, strict=True)
            if some <= per_class or not seen
        }
        assert any(f"{name} (label {names.index(name)})" in str(error) for name in faulty)
        assert not any(name in str(error) for name in set(names) - faulty)
        return
    validation = chosen(train, per_class)
    for part in (train[validation], train[~validation], test):
        assert set(part) == set(range(CLASS_COUNT))


@pytest.mark.parametrize("per_class", [3, 4])
def test_a_class_that_would_have_no_training_image_is_refused(per_class):
    told = r"class hat \(label 1\) has 3 training images.*Set a smaller"
    with pytest.raises(split.SplitError, match=told) as caught:
        split.check_classes([9, 3], [9, 3], per_class, ("bag", "hat"))
    assert f"split.validation_per_class={per_class}" in str(caught.value)


def test_many_absent_classes_are_counted_and_some_are_named():
    names = tuple(f"class{number}" for number in range(40))
    with pytest.raises(split.SplitError) as caught:
        split.check_classes([9] + [0] * 39, [9] + [0] * 39, 1, names)
    assert "39 classes have too few training images: class1 (label 1) 0" in str(caught.value)
    assert "class11 " not in str(caught.value)


def test_ids_are_names_with_positions_and_sort_in_their_order():
    ids = split.example_ids("t10k", 12)
    assert ids[0] == "t10k-00000000"
    assert sorted(ids) == ids
    assert len(set(ids)) == 12
