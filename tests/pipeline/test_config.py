"""The configuration: what profiles and `--set` change, and what is refused."""

import itertools
import json

import hypothesis
import pytest
from hypothesis import strategies

from components.messages import shown
from components.slices import Slicing
from pipeline import config
from pipeline.errors import ConfigurationError
from pipeline.profiles import PROFILES

# Values other than the default for keys whose default does not tell which values there are.
OTHER_VALUES = {
    "name": "garments",
    "schema_file": "other.pbtxt",
    "spans.newest": 5,
    "spans.reference": 0,
    "data.bad_files": "skip",
    "data.form": "manifest",
    "data.path_column": "photo",
    "data.label_column": "kind",
    "data.id_column": "number",
    "data.split_column": "part",
    "images.fit": "crop",
    "split.group": "plant",
    "serving.bucket": "s3://models/flowers",
    "training.precision": "float32",
    "training.minutes": 7.5,
    "training.optimizer": "adam",
    "training.class_weights": "balanced",
    "training.widths": [7, 11],
    "gates.slices": {"shop": {"accuracy": 0.5, "min_images": 7}},
    "gates.required_slices": ["shop=north"],
    "training.augmentation.fill": "reflect",
    "metadata.uri": "postgresql://ada@db.example.org:5432/metadata",
    "beam.runner": "prism",
    "beam.job_endpoint": "cluster.example.org:8099",
    "beam.flink_job_server_jar": "job-server.jar",
    "beam.flink_master": "10.0.0.7:8081",
    "beam.prism_location": "bin/prism",
    "beam.environment": "pool",
    "beam.worker_pool": "localhost:50000",
    "beam.worker_image": "registry.example.org/image-pipeline:1.0",
    "beam.parallelism": 4,
    "beam.options": ["--number_of_execution_retries=3"],
}
# What must be set beside a key.
NEEDED = {f"robustness.accuracy_{strength}": ["robustness.enabled=true"] for strength in (1, 2, 3)}
NEEDED["split.group"] = ["split.validation=0.1"]
NEEDED["gates.required_slices"] = ['gates.slices={"shop": {"accuracy": 0.5}}']


def value_of(loaded, key):
    values = loaded.model_dump(mode="json")
    for part in key.split("."):
        values = values[part]
    return values


def other_value(key):
    """A value other than the default."""
    match value_of(config.load_config("default"), key):
        case bool(default):
            return not default
        case int(default):
            return default + 1
        case "stop" if key not in OTHER_VALUES:
            return "warn"
        case "warn":
            return "stop"
        case float() | None if key not in OTHER_VALUES:
            return 0.0123
    return OTHER_VALUES[key]


def refusal(*assignments, profile="default"):
    with pytest.raises(ConfigurationError) as caught:
        config.load_config(profile, assignments)
    return str(caught.value)


@pytest.mark.parametrize("key", config.known_keys())
def test_every_key_can_be_set_and_changes_nothing_else(key):
    value, needed = other_value(key), NEEDED.get(key, [])
    before = config.load_config("default", needed)
    assignment = f"{key}={value if key == 'name' else json.dumps(value)}"
    after = config.load_config("default", [*needed, assignment])
    changed = [k for k in config.known_keys() if value_of(before, k) != value_of(after, k)]
    assert changed == [key]
    assert value_of(after, key) == value


NUMBERS = [key for key in config.known_keys() if type(other_value(key)) in (int, float)]


@pytest.mark.parametrize("key", NUMBERS)
def test_true_is_no_number(key):
    assert key in refusal(*NEEDED.get(key, []), f"{key}=true")


def test_every_key_says_what_it_is():
    assert all(config.known_keys().values())


def test_values_have_the_type_of_their_key():
    loaded = config.load_config(
        "default", ["training.learning_rate=1e-3", "training.widths=[8,16,24]"]
    )
    assert loaded.training.learning_rate == 0.001
    assert loaded.training.widths == (8, 16, 24)


def test_a_value_may_hold_an_equals_sign():
    assert config.load_config("default", ["schema_file=a=b.pbtxt"]).schema_file == "a=b.pbtxt"


def test_the_later_value_wins():
    loaded = config.load_config("default", ["training.epochs=3", "seed=5", "training.epochs=9"])
    assert (loaded.training.epochs, loaded.seed) == (9, 5)


def test_setting_one_key_of_a_section_leaves_the_profiles_others():
    loaded = config.load_config("smoke", ["training.augmentation.zoom=0.123"])
    assert loaded.training.augmentation.zoom == 0.123
    smoke = config.load_config("smoke").training
    kept = loaded.training.augmentation.model_copy(update={"zoom": smoke.augmentation.zoom})
    assert loaded.training.model_copy(update={"augmentation": kept}) == smoke


def test_the_smoke_profile_is_smaller_and_asks_for_less():
    smoke, default = config.load_config("smoke"), config.load_config("default")
    assert smoke.training.epochs < default.training.epochs
    assert sum(smoke.training.widths) < sum(default.training.widths)
    assert smoke.gates.accuracy < default.gates.accuracy
    assert smoke.profile == "smoke"


@pytest.mark.parametrize("profile", PROFILES)
def test_the_docstring_of_a_profile_gives_its_command(profile):
    assert "Command: `python3 pipeline_runner.py run" in PROFILES[profile].__doc__


@pytest.mark.parametrize("profile", PROFILES)
def test_the_sample_spares_fewer_images_for_validation(profile):
    full, sample = config.load_config(profile), config.load_config(profile, sample=True)
    assert sample.split.validation < full.split.validation
    assert sample.training.epochs >= full.training.epochs
    assert sample.model_copy(update={"split": full.split, "training": full.training}) == full


def test_an_assignment_wins_over_the_sample_and_over_the_seed():
    loaded = config.load_config("smoke", ["split.validation=7", "seed=8"], sample=True, seed=9)
    assert (loaded.split.validation, loaded.seed) == (7, 8)


def test_a_seed_of_its_own_is_taken():
    assert config.load_config("default", seed=9).seed == 9


def test_nothing_changes_a_loaded_configuration():
    loaded = config.load_config("default")
    with pytest.raises(ValueError, match="frozen"):
        loaded.seed = 3


def test_loading_leaves_no_trace():
    before = config.load_config("smoke")
    config.load_config("smoke", ["training.epochs=99"], sample=True)
    assert config.load_config("smoke") == before


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("training.epoch", "training.epochs"),
        ("epochs", "training.epochs"),
        ("Seed", "seed"),
        ("gates.acuracy", "gates.accuracy"),
        ("training.flip", "training.augmentation.flip"),
        ("data.background", "images.background"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(key, nearest):
    message = refusal(f"{key}=3")
    assert f"unknown key {key!r} (the nearest is {nearest!r})" in message
    assert "pipeline_runner.py keys" in message


@pytest.mark.parametrize("key", ["training", "training.augmentation", "profile", "", "."])
def test_what_is_no_single_value_cannot_be_set(key):
    assert f"unknown key {key!r}" in refusal(f"{key}=3")


def test_an_unknown_profile_is_refused_with_the_nearest():
    message = refusal(profile="somke")
    assert "unknown profile 'somke' (the nearest is 'smoke')" in message
    assert "expected one of smoke, default" in message


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("training.learning_rate=-0.1", "greater than 0"),
        ("training.learning_rate=0", "greater than 0"),
        ("training.learning_rate=fast", "a valid number"),
        ("training.learning_rate=NaN", "a finite number"),
        ("training.learning_rate=Infinity", "a finite number"),
        ("training.l2=1e999", "a finite number"),
        ("training.widths=[32,0]", "greater than or equal to 1"),
        ("training.widths=[]", "at least 1 item"),
        ("training.widths=32", "a list such as [16,32]"),
        ("beam.options=--foo", 'a list such as ["--name=value"]'),
        ("training.widths=[8,8,8,8,8,8]", "at most 5 items"),
        ("training.widths=[16.5]", "a valid integer"),
        ("training.weight_decay=-1", "greater than or equal to 0"),
        ("spans.window=0", "greater than or equal to 1"),
        ("spans.window=many", "a valid integer"),
        ("spans.newest=true", "a valid integer"),
        ("spans.reference=-1", "greater than or equal to 0"),
        ("gates.accuracy=NaN", "a finite number"),
        ("training.plateau_patience=0", "greater than or equal to 1"),
        ("training.early_stopping_patience=0", "greater than or equal to 1"),
        ("training.plateau_factor=1", "less than 1"),
        ("training.epochs=2.5", "a valid integer"),
        ("training.epochs=", "a valid integer"),
        ("training.epochs=null", "a valid integer"),
        ("training.epochs=true", "a valid integer"),
        ("training.minutes=0", "greater than 0"),
        ("training.minutes=1e18", "less than or equal to 525600"),
        ("training.minutes=Infinity", "a finite number"),
        ("training.minutes=long", "a valid number"),
        ("training.learning_rate=true", "a valid number"),
        ("training.augmentation.erasing=false", "a valid number"),
        ("gates.accuracy=true", "a valid number"),
        ("training.dropout=1", "less than 1"),
        ("training.precision=float16", "'auto', 'float32' or 'bfloat16'"),
        ("training.precision=32", "'auto', 'float32' or 'bfloat16'"),
        ("training.warm_up=1", "less than 1"),
        ("training.warm_up=-0.1", "greater than or equal to 0"),
        ("training.ema_momentum=1", "less than 1"),
        ("training.ema_momentum=-0.1", "greater than or equal to 0"),
        ("training.flip_averaging=perhaps", "a valid boolean"),
        ("training.warm_start=perhaps", "a valid boolean"),
        ("training.augmentation.flip=perhaps", "a valid boolean"),
        ("training.augmentation.flip_vertical=perhaps", "a valid boolean"),
        ("training.augmentation.fill=black", "'background', 'edge' or 'reflect'"),
        ("training.augmentation.fill=0", "'background', 'edge' or 'reflect'"),
        ("training.augmentation.fill=null", "'background', 'edge' or 'reflect'"),
        ("training.augmentation.crop=1", "less than 1"),
        ("training.augmentation.crop=-0.1", "greater than or equal to 0"),
        ("training.augmentation.brightness=1.1", "less than or equal to 1"),
        ("training.augmentation.contrast=true", "a valid number"),
        ("training.augmentation.colour=much", "a valid number"),
        ("training.augmentation.colour=NaN", "a finite number"),
        ("tuner.enabled=perhaps", "a valid boolean"),
        ("tuner.trials=0", "greater than or equal to 1"),
        ("tuner.trials=101", "less than or equal to 100"),
        ("tuner.trials=true", "a valid integer"),
        ("tuner.epochs=0", "greater than or equal to 1"),
        ("tuner.minutes=0", "greater than 0"),
        ("tuner.minutes=-5", "greater than 0"),
        ("tuner.minutes=Infinity", "a finite number"),
        ("tuner.minutes=true", "a valid number"),
        ("tuner.max_parameters=0", "greater than or equal to 1"),
        ("gates.accuracy=1.5", "less than or equal to 1"),
        ("gates.accuracy=90", "less than or equal to 1"),
        ("robustness.enabled=perhaps", "a valid boolean"),
        ("robustness.accuracy_1=80", "less than or equal to 1"),
        ("robustness.accuracy_2=true", "a valid number"),
        ("robustness.accuracy_3=0.5", "null, or robustness.enabled=true beside it"),
        ("data_gate.drift=ignore", "'stop' or 'warn'"),
        ("data_gate.max_duplicates=-1", "greater than or equal to 0"),
        ("split.validation=0", "a whole number from 1, or a share between 0 and 1"),
        ("split.validation=1.0", "a whole number from 1, or a share between 0 and 1"),
        ("split.validation=-0.1", "a whole number from 1, or a share between 0 and 1"),
        ("split.validation=true", "a whole number from 1, or a share between 0 and 1"),
        ("split.validation=few", "a whole number from 1, or a share between 0 and 1"),
        ("split.test_share=0", "greater than 0"),
        ("split.test_share=1", "less than 1"),
        ("split.test_share=0.2x", "a valid number"),
        ("data.bad_files=ignore", "'stop' or 'skip'"),
        ("data.max_bad_share=2", "less than or equal to 1"),
        ("data.outside_files=perhaps", "a valid boolean"),
        ("images.fit=zoom", "'pad', 'crop' or 'stretch'"),
        ("images.background=256", "less than or equal to 255"),
        ("images.background=-1", "greater than or equal to 0"),
        ("images.background=1.5", "a valid integer"),
        ("gates.slices=shop", "a table with accuracy, min_images or neither for each column"),
        ('gates.slices=["shop"]', "a table with accuracy"),
        ('gates.slices={"shop": 0.8}', "a table with accuracy"),
        ('gates.slices={"shop": {"recall": 0.8}}', "a table with accuracy"),
        ('gates.slices={"shop": {"accuracy": 80}}', "less than or equal to 1"),
        ('gates.slices={"shop": {"accuracy": true}}', "a valid number"),
        ('gates.slices={"7": {"min_images": 0}}', "greater than or equal to 1"),
        ('gates.slices={"label": {}}', "other names of columns than 'label'"),
        ('gates.slices={"candidate": {}}', "other names of columns than 'candidate'"),
        ('gates.slices={"": {}}', "other names of columns than ''"),
        ('gates.slices={"a=b": {}}', "other names of columns than 'a=b'"),
        ('gates.slices={"a\\u001bb": {}}', "other names of columns than 'a\\x1bb'"),
        ("gates.required_slices=shop=north", 'a list such as ["shop=north"]'),
        ("gates.required_slices=[7]", 'a list such as ["shop=north"]'),
        ('gates.required_slices=["shop=north"]', "column=value, of a column to which gates.slices"),
        ("seed=-1", "greater than or equal to 0"),
        ("seed=2147483648", "less than"),
        pytest.param(f"seed=1{'0' * 5000}", "integer", id="a number of 5001 digits"),
        ("name=My Clothes", "a text of the form"),
        ("name=../elsewhere", "a text of the form"),
    ],
)
def test_a_value_out_of_range_is_refused(assignment, expected):
    key = assignment.partition("=")[0]
    message = refusal(assignment)
    assert message.startswith(key)
    assert f"; expected {expected}" in message or expected in message.partition("; expected ")[2]
    assert message.endswith(f"Set it with --set {key}=VALUE.")


@pytest.mark.parametrize(
    "assignment", ["data.label_column=5", "name=2024", "split.group=true", "data.id_column=1e3"]
)
def test_a_number_that_is_meant_as_a_text_has_to_be_quoted(assignment):
    key, _, text = assignment.partition("=")
    message = refusal(assignment)
    assert message.startswith(f"{key}: found ") and "; expected a valid string." in message
    quoted = f'{key}="{text}"'
    assert message.endswith(f"Set it with --set '{quoted}', with both quotation marks.")
    if key == "name":
        assert config.load_config("default", [quoted]).name == text


@pytest.mark.parametrize(
    "name", ["camera=x", "shop", "shop=", "north", "season=summer", "shop=\x1b[31m"]
)
def test_a_required_slice_is_one_that_would_be_judged(name):
    asked = 'gates.slices={"shop": {"accuracy": 0.5}, "season": {}}'
    message = refusal(asked, f"gates.required_slices={json.dumps(['shop=north', name])}")
    assert f"to which gates.slices gives an accuracy, instead of {name!r}." in message


def test_the_slices_are_those_that_are_set():
    assert config.load_config("default").gates.slicings() == []
    asked = 'gates.slices={"shop": {"accuracy": 0.5}, "season": {"min_images": 9}}'
    required = 'gates.required_slices=["shop=07", "shop= 07 ", "shop=a=b"]'
    assert config.load_config("default", [asked, required]).gates.slicings() == [
        Slicing("shop", 0.5, 50, ("07", "a=b")),
        Slicing("season", None, 9),
    ]


def test_groups_need_a_share_of_validation_images():
    message = refusal("split.group=plant")
    assert "found 500; expected a share such as 0.1 beside split.group" in message
    assert message.endswith("Set it with --set split.validation=VALUE.")


def test_the_thresholds_of_robustness_are_those_that_are_set():
    enabled = ["robustness.enabled=true"]
    assert config.load_config("default", enabled).robustness.thresholds() == {}
    some = [*enabled, "robustness.accuracy_1=0.5", "robustness.accuracy_3=0"]
    assert config.load_config("default", some).robustness.thresholds() == {1: 0.5, 3: 0}
    taken_back = [*some, "robustness.accuracy_1=null"]
    assert config.load_config("default", taken_back).robustness.thresholds() == {3: 0}


def test_half_a_character_is_no_value_of_a_slice():
    asked = ['gates.slices={"shop": {"accuracy": 0.5}}', 'gates.required_slices=["shop=\\ud800"]']
    with pytest.raises(ConfigurationError, match="required_slices"):
        config.load_config("default", asked)


@hypothesis.given(strategies.sampled_from([*config.known_keys()]), strategies.text(max_size=20))
def test_any_value_is_taken_or_refused_in_words(key, text):
    try:
        loaded = config.load_config("default", [f"{key}={text}"])
    except ConfigurationError as error:
        assert key in str(error)
    else:
        assert config.load_config("default").model_dump().keys() == loaded.model_dump().keys()


@hypothesis.given(strategies.text(max_size=30))
def test_any_assignment_is_taken_or_refused_in_words(text):
    hypothesis.assume(text.partition("=")[0] not in config.known_keys())
    assert refusal(text).startswith(f"--set {shown(text.partition('=')[0])}")


def test_sample_smoke_and_real_have_names_of_their_own():
    names = {
        config.pipeline_name(config.load_config(profile, [f"name={name}"], sample=sample), sample)
        for profile, name, sample in itertools.product(
            ("smoke", "default"), ("fashion-mnist", "sampler", "smoked"), (True, False)
        )
    }
    assert len(names) == 2 * 3 * 2


def test_the_best_profile_serves_where_the_default_one_does():
    """A model of either is compared with what is served, and may take its place."""
    best, default = config.load_config("best"), config.load_config("default")
    assert config.pipeline_name(best, False) == config.pipeline_name(default, False)
    assert best.gates == default.gates


def test_the_default_profile_on_real_data_bears_the_plain_name():
    assert config.pipeline_name(config.load_config("default"), sample=False) == "fashion-mnist"


@pytest.mark.parametrize("name", ["fashion-mnist-smoke", "fashion-mnist-sample", "a-sample-smoke"])
def test_a_name_that_smoke_or_sample_runs_would_bear_is_refused(name):
    message = refusal(f"name={name}")
    assert message.startswith(f"name: found {name!r}; expected ")
    assert "-sample" in message


@pytest.mark.parametrize(
    "address",
    ["models", "s3://", "s3://k:hunter2@b/x", "s3://bucket/x?token=hunter2", "s3://bucket/../x", 3],
)
def test_what_names_no_folder_in_a_bucket_is_refused(address):
    message = refusal(f"serving.bucket={address}")
    assert "expected null, or s3://BUCKET/FOLDER" in message and "hunter2" not in message


@pytest.mark.parametrize("key", ["job_endpoint", "flink_master", "worker_pool"])
@pytest.mark.parametrize("address", ["http://a:1", "a", "a:0", "a:65536", "me:pw@a:1", "a b:1"])
def test_addresses_of_engines_are_a_host_and_a_port(key, address):
    message = refusal(f"beam.{key}={address}")
    assert message.startswith(f"beam.{key}: found ")
    assert "expected a host and a port, such as flink.example.org:8081" in message


def test_an_image_of_workers_has_the_name_of_an_image():
    assert "expected the name of an image" in refusal("beam.worker_image=My Image")


def test_an_engine_that_beam_has_and_this_project_does_not_is_told():
    assert "expected 'local', 'flink', 'prism' or 'portable'" in refusal("beam.runner=spark")


@pytest.mark.parametrize(
    ("profile", "sample", "address"),
    [
        ("default", False, "s3://models/clothes"),
        ("smoke", False, "s3://models/clothes/clothes-smoke"),
        ("default", True, "s3://models/clothes/clothes-sample"),
    ],
)
def test_what_is_not_for_production_has_a_folder_of_its_own(profile, sample, address):
    chosen = config.load_config(
        profile, ["name=clothes", "serving.bucket=s3://models/clothes"], sample=sample
    )
    assert config.serving_bucket(chosen, config.pipeline_name(chosen, sample)) == address
    without = config.load_config(profile)
    assert config.serving_bucket(without, config.pipeline_name(without, sample)) is None
