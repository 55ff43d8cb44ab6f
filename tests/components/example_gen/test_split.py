"""The splits: given ones are kept, others drawn so that further examples move none."""

import dataclasses
import math
import unicodedata

import hypothesis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies

from components import features
from components.example_gen import split
from components.example_gen.example_ids import example_ids
from components.example_gen.readers.base import UNDECIDED

LABELS = strategies.lists(strategies.integers(0, 3), min_size=1, max_size=120).map(
    lambda labels: np.array(sorted({0, 1, 2, 3}) * 4 + labels)
)
PER_CLASS = strategies.integers(1, 3)
SEEDS = strategies.integers(0, 2**31 - 1)


def chosen(labels, per_class, seed=1, name="train"):
    return split.choose_validation(example_ids(name, len(labels)), labels, per_class, seed)


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
    ids = example_ids("train", len(labels))
    order = list(range(len(labels)))
    random.shuffle(order)
    mixed = split.choose_validation([ids[i] for i in order], labels[order], per_class, 1)
    np.testing.assert_array_equal(mixed, chosen(labels, per_class)[order])


SPANS = strategies.dictionaries(strategies.integers(0, 30), LABELS, min_size=1, max_size=4)


def window_of(spans):
    """Ids and labels of the examples of all spans together; LABELS has four of each class."""
    names = {number: f"span-{number}-train" for number in spans}
    ids = [name for n, labels in spans.items() for name in example_ids(names[n], len(labels))]
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


def settings(validation=0.2, test_share=0.3, group=None):
    return split.Settings(validation, test_share, group)


def examples(ids, labels=None, given=None, contents=None, columns=None, use="all"):
    count = len(ids)
    return split.Examples(
        ids=ids,
        labels=np.zeros(count, int) if labels is None else np.asarray(labels),
        given=np.full(count, UNDECIDED, np.int8) if given is None else np.asarray(given, np.int8),
        trains=np.full(count, use != "test"),
        tests=np.full(count, use != "train"),
        contents=contents,
        columns=columns,
    )


def assigned(ids, how=None, seed=1, **known):
    """The split of each example, by id."""
    splits = split.assign(examples(ids, **known), how or settings(), seed)
    return dict(zip(ids, splits.tolist(), strict=True))


@hypothesis.given(COUNTS, COUNTS, strategies.integers(1, 4))
def test_every_class_must_have_images_in_every_split(trained, tested, per_class):
    """Whatever is absent is refused by name; what passes is in `train`, `val` and `test`."""
    labels = np.concatenate([np.repeat(np.arange(CLASS_COUNT), each) for each in (trained, tested)])
    given = np.repeat([UNDECIDED, features.TEST], [sum(trained), sum(tested)])
    names = ("alpha", "beta", "gamma", "delta")
    how = settings(per_class)
    found = examples([f"{number}" for number in range(len(labels))], labels, given)
    hypothesis.assume(sum(tested))
    splits = split.assign(found, how, 1)
    try:
        split.check_classes(splits, labels, how, names)
    except split.SplitError as error:
        faulty = {
            name
            for name, some, seen in zip(names, trained, tested, strict=True)
            if some <= per_class or not seen
        }
        assert any(f"{name} (label {names.index(name)})" in str(error) for name in faulty)
        assert not any(name in str(error) for name in set(names) - faulty)
        return
    for number in (features.TRAIN, features.VALIDATION, features.TEST):
        assert set(labels[splits == number]) == set(range(CLASS_COUNT))


@pytest.mark.parametrize("per_class", [3, 4])
def test_a_class_that_would_have_no_training_image_is_refused(per_class):
    labels = np.array([0] * 9 + [1] * 3 + [0, 1])
    given = [UNDECIDED] * 12 + [features.TEST] * 2
    how = settings(per_class)
    splits = split.assign(examples([f"{n}" for n in range(14)], labels, given), how, 1)
    told = r"class hat \(label 1\) has 3 training or validation images.*Add training images"
    with pytest.raises(split.SplitError, match=told) as caught:
        split.check_classes(splits, labels, how, ("bag", "hat"))
    assert f"split.validation={per_class}" in str(caught.value)


def test_many_absent_classes_are_counted_and_some_are_named():
    names = tuple(f"class{number}" for number in range(40))
    splits = np.repeat([features.TRAIN, features.VALIDATION, features.TEST], 3)
    with pytest.raises(split.SplitError) as caught:
        split.check_classes(splits, np.zeros(9, int), settings(), names)
    assert "39 classes have too few training images: class1 (label 1) 0" in str(caught.value)
    assert "class11 " not in str(caught.value)


def test_data_without_any_validation_image_is_refused():
    splits = np.repeat([features.TRAIN, features.TEST], 2)
    with pytest.raises(split.SplitError, match="no image is a validation image"):
        split.check_classes(splits, np.array([0, 1, 0, 1]), settings(), ("a", "b"))


IDS = strategies.sets(strategies.text("abc/123.", min_size=1, max_size=8), max_size=60).map(sorted)


@hypothesis.given(IDS, IDS, SEEDS)
def test_further_examples_move_none_between_drawn_splits(ids, further, seed):
    before = assigned(ids, seed=seed)
    after = assigned(sorted({*ids, *further}), seed=seed)
    assert {name: after[name] for name in ids} == before


@hypothesis.given(IDS, SEEDS, SEEDS)
def test_the_drawn_test_split_does_not_depend_on_the_seed(ids, one, other):
    tests = [
        {name for name, number in assigned(ids, seed=seed).items() if number == features.TEST}
        for seed in (one, other)
    ]
    assert tests[0] == tests[1]


def test_shares_are_about_what_was_asked_for():
    found = assigned([f"photos/{number}.jpg" for number in range(4000)], settings(0.25, 0.1))
    counts = np.bincount(list(found.values()), minlength=3) / 4000
    assert abs(counts[features.TEST] - 0.1) < 0.02
    assert abs(counts[features.VALIDATION] - 0.9 * 0.25) < 0.03


@hypothesis.given(
    strategies.lists(strategies.integers(0, 9), min_size=1, max_size=50),
    SEEDS,
    strategies.sampled_from([0.3, 2]),
)
def test_equal_files_stay_together(contents, seed, validation):
    ids = [f"{number}.png" for number in range(len(contents))]
    found = assigned(
        ids, settings(validation), seed, contents=[f"sha{content}" for content in contents]
    )
    for content in set(contents):
        splits = {found[name] for name, each in zip(ids, contents, strict=True) if each == content}
        assert len(splits) == 1


# The split that the data gives to some pictures of a content; the others have none.
GIVEN_TO_CONTENT = [UNDECIDED, UNDECIDED, features.VALIDATION, features.TEST]


@hypothesis.given(
    strategies.lists(
        strategies.tuples(strategies.integers(0, 15), strategies.booleans()),
        min_size=1,
        max_size=50,
    ),
    SEEDS,
)
def test_equal_files_stay_together_beside_given_splits(pictures, seed):
    """Also where the validation split alone is drawn; copies of what tests are left out."""
    ids = [f"{number}.png" for number in range(len(pictures))]
    given = [
        GIVEN_TO_CONTENT[content % 4] if is_given else UNDECIDED for content, is_given in pictures
    ]
    contents = [f"sha{content}" for content, _ in pictures]
    found = assigned(ids, settings(0.3), seed, given=given, contents=contents)
    for content in set(contents):
        splits = {found[name] for name, each in zip(ids, contents, strict=True) if each == content}
        assert len(splits - {split.NOT_TAKEN}) <= 1


@hypothesis.given(strategies.lists(strategies.integers(0, 9), min_size=1, max_size=50), SEEDS)
def test_a_group_stays_together_whether_a_column_or_a_pattern_names_it(objects, seed):
    ids = [f"object{each}/{number}.png" for number, each in enumerate(objects)]
    columns = pa.table({"object": objects})
    by_column = assigned(ids, settings(group="object"), seed, columns=columns)
    by_pattern = assigned(ids, settings(group=r"object(\d+)/"), seed)
    assert by_column == by_pattern
    for each in set(objects):
        assert len({found for name, found in by_column.items() if f"object{each}/" in name}) == 1


GIVEN = [UNDECIDED, features.TRAIN, features.VALIDATION, features.TEST]
# What the spans of a run are read for.
USES = [["all"], ["train", "all"], ["test", "train"], ["train", "test", "train"]]
# Span, object, given split and content of each example.
PICTURES = strategies.lists(
    strategies.tuples(
        strategies.integers(0, 2),
        strategies.integers(0, 7),
        strategies.sampled_from([UNDECIDED] * 5 + GIVEN),
        strategies.integers(0, 30),
    ),
    min_size=1,
    max_size=60,
)


def in_spans(pictures, uses):
    """Examples of spans; a picture of an object is named alike in each span."""
    spans = np.array([span % len(uses) for span, *_ in pictures])
    own = [f"object{thing}_{number}.png" for number, (_, thing, *_) in enumerate(pictures)]
    use = np.array(uses)[spans]
    return split.Examples(
        ids=[f"span-{span}-{name}" for span, name in zip(spans, own, strict=True)],
        labels=np.zeros(len(own), int),
        given=np.array([given for *_, given, _ in pictures], np.int8),
        trains=use != "test",
        tests=use != "train",
        contents=[f"sha{content}" for *_, content in pictures],
        columns=pa.table({"object": [f"{thing}" for _, thing, *_ in pictures]}),
        ids_in_part=own,
    )


@hypothesis.given(
    PICTURES,
    strategies.sampled_from(USES),
    strategies.sampled_from(["object", "^[^_]*"]),
    strategies.booleans(),
    SEEDS,
)
def test_no_group_is_in_two_splits(pictures, uses, group, has_contents, seed):
    """Whatever spans and given splits there are; given splits that tear a group are refused."""
    found = in_spans(pictures, uses)
    if not has_contents:
        found = dataclasses.replace(found, contents=None)
    try:
        splits = split.assign(found, settings(group=group), seed)
    except split.SplitError as error:
        assert "of the same group" in str(error)
        return
    of_object = {}
    for (_, thing, *_), number in zip(pictures, splits.tolist(), strict=True):
        if number != split.NOT_TAKEN:
            of_object.setdefault(thing, set()).add(number)
    assert all(len(each) == 1 for each in of_object.values())


@hypothesis.given(PICTURES, PICTURES, SEEDS)
def test_spans_to_train_on_do_not_decide_which_groups_are_tested_on(reference, newer, seed):
    """The test split stays that of the reference span, so that accuracies can be compared."""
    hypothesis.assume(all(given in (UNDECIDED, features.VALIDATION) for _, _, given, _ in newer))
    reference = [(0, *rest) for _, *rest in reference]
    how = settings(group="object")

    def tested(pictures, uses):
        found = dataclasses.replace(in_spans(pictures, uses), contents=None)
        try:
            splits = split.assign(found, how, seed)[: len(reference)]
        except split.SplitError:
            hypothesis.reject()
        return (splits == features.TEST).tolist()

    newer = [(1, *rest) for _, *rest in newer]
    assert tested([*reference, *newer], ["all", "train"]) == tested(reference, ["all"])
    assert tested([*reference, *newer], ["test", "train"]) == tested(reference, ["all"])


def test_further_pictures_of_what_validates_are_left_out():
    ids = [f"object{number // 3}/{number}.png" for number in range(90)]
    given = [features.VALIDATION if number % 9 == 0 else UNDECIDED for number in range(90)]
    found = assigned(ids, settings(group=r"object\d+/"), given=given)
    for number, name in enumerate(ids):
        validates = number // 3 % 3 == 0
        kept = features.VALIDATION if number % 9 == 0 else split.NOT_TAKEN
        assert found[name] == kept if validates else found[name] in (features.TRAIN, features.TEST)


def test_groups_are_told_apart_by_values_without_spaces_and_in_one_form():
    ids = [f"{number}" for number in range(300)]
    things = [f"é{number // 3}" for number in range(300)]
    written = [
        f" {thing}" if number % 3 == 0 else unicodedata.normalize("NFD", thing)
        for number, thing in enumerate(things)
    ]
    how = settings(group="object")
    tidy, untidy = (
        assigned(ids, how, columns=pa.table({"object": column})) for column in (things, written)
    )
    assert untidy == tidy


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_pattern_fits_ids_in_any_unicode_form(form):
    ids = [f"Käse {each}/{number}.png" for each in range(6) for number in range(3)]
    group = r"Käse \d"
    expected = assigned(ids, settings(group=group))
    decomposed = [unicodedata.normalize("NFD", name) for name in ids]
    by_form = assigned(decomposed, settings(group=unicodedata.normalize(form, group)))
    assert list(by_form.values()) == list(expected.values())


def test_a_group_that_given_splits_tear_apart_is_refused():
    ids = ["patient1/a.png", "patient2/b.png", "patient1/c.png"]
    given = [features.TRAIN, features.TRAIN, features.TEST]
    with pytest.raises(split.SplitError, match=r"patient1/a.png into train and patient1/c.png"):
        assigned(ids, settings(group=r"(patient\d)"), given=given)


def test_files_that_cannot_be_read_are_not_equal():
    ids = [f"{number}" for number in range(100)]
    assert assigned(ids, contents=[""] * 100) == assigned(ids)


def test_groups_that_share_a_file_are_one_group():
    ids = [f"{number}" for number in range(40)]
    contents = [f"sha{number // 2}" for number in range(40)]
    # Neighbours share a group or a file, so that all are in one chain.
    columns = pa.table({"group": [str((number + 1) // 2) for number in range(40)]})
    found = assigned(ids, settings(group="group"), contents=contents, columns=columns)
    assert len(set(found.values())) == 1


@pytest.mark.parametrize(
    ("group", "told"),
    [
        ("[", "neither a column nor a regular expression"),
        ("nowhere", "fits no part of a/1.png; .*The columns are object"),
        ("object", "example b/1.png has no value in this column"),
        ("blank", "example b/1.png has no value in this column"),
        ("number", "example b/1.png has no value in this column"),
    ],
)
def test_a_group_that_does_not_fit_is_refused(group, told):
    columns = pa.table({"object": ["1", None], "blank": ["1", " "], "number": [1.0, math.nan]})
    with pytest.raises(split.SplitError, match=told):
        assigned(["a/1.png", "b/1.png"], settings(group=group), columns=columns)


HOSTILE = "a\x1b[2J.png"


@pytest.mark.parametrize("group", ["nowhere", "object", "x\x1b[", "(?\x1b)"])
def test_ids_and_columns_cannot_command_the_terminal(group):
    columns = pa.table({"object": [None], "\x1b[31m": ["one"]})
    with pytest.raises(split.SplitError) as caught:
        assigned([HOSTILE], settings(group=group), columns=columns)
    assert str(caught.value).isprintable()
    assert "\\x1b[" in str(caught.value)


def test_names_of_classes_cannot_command_the_terminal():
    with pytest.raises(split.SplitError) as caught:
        split.check_classes(np.array([0, 1, 2]), np.zeros(3, int), settings(), ["a", HOSTILE])
    assert r"class a\x1b[2J.png (label 1)" in str(caught.value)


def test_given_splits_stay_and_only_the_missing_ones_are_drawn():
    ids = [f"{number:03d}" for number in range(300)]
    given = np.repeat([features.TRAIN, features.VALIDATION], 150)
    found = assigned(ids, given=given)
    assert {found[name] for name in ids[150:]} == {features.VALIDATION}
    assert {found[name] for name in ids[:150]} == {features.TRAIN, features.TEST}
    given = np.repeat([features.TRAIN, features.TEST], 150)
    found = assigned(ids, given=given)
    assert {found[name] for name in ids[150:]} == {features.TEST}
    assert {found[name] for name in ids[:150]} == {features.TRAIN, features.VALIDATION}


def test_new_examples_that_are_only_trained_on_are_not_tested_on():
    """As those of a newer span: the test split stays that of the reference."""
    reference, newer = ([f"{span}-{n}" for n in range(100)] for span in (1, 2))
    both = examples([*reference, *newer])
    both = dataclasses.replace(both, trains=np.arange(200) >= 100, tests=np.arange(200) < 100)
    splits = split.assign(both, settings(), 1)
    assert set(splits[:100]) == {features.TEST, split.NOT_TAKEN}
    assert set(splits[100:]) == {features.TRAIN, features.VALIDATION}


def test_ids_are_names_with_positions_and_sort_in_their_order():
    ids = example_ids("t10k", 12)
    assert ids[0] == "t10k-00000000"
    assert sorted(ids) == ids
    assert len(set(ids)) == 12
