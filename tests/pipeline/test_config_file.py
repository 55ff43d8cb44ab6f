"""The configuration file: what it sets, what wins over it, and what is refused."""

import json
import os
import tomllib

import hypothesis
import pytest
from hypothesis import strategies

from pipeline import config, config_file
from pipeline.errors import PathError, UsageError


@pytest.fixture
def write(tmp_path):
    """Writes a configuration file, as text or as bytes."""

    def make(content):
        path = tmp_path / "flowers" / "pipeline.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


@pytest.fixture
def refusal(write):
    def of(content):
        path = write(content)
        with pytest.raises(UsageError) as caught:
            config_file.read(path)
        message = str(caught.value)
        assert message.startswith(f"--config {path}")
        assert "\n" not in message and "expected" in message
        return message

    return of


def value_of(settings, key):
    return config.values_by_key(settings.config())[key]


WHOLE = """
version = 1
data = "../photos"
name = "flowers"
profile = "smoke"
seed = 7
schema_file = "schema.pbtxt"

[training]
epochs = 30
widths = [8, 16]
augmentation.zoom = 0.1

[gates]
accuracy = 0.5
"""


def test_a_file_sets_data_profile_seed_and_keys(write, tmp_path):
    settings = config_file.combine(write(WHOLE))
    assert settings.data == str(tmp_path / "photos")
    assert (settings.profile, settings.seed) == ("smoke", 7)
    loaded = settings.config()
    assert loaded.name == "flowers"
    assert loaded.schema_file == str(tmp_path / "flowers" / "schema.pbtxt")
    assert (loaded.training.epochs, loaded.training.widths) == (30, (8, 16))
    assert loaded.training.augmentation.zoom == 0.1
    assert loaded.gates.accuracy == 0.5
    # What the file leaves out is the profile's.
    assert loaded.gates.class_recall == config.load_config("smoke").gates.class_recall
    assert settings.pipeline_name() == "flowers-smoke"


def test_a_key_keeps_its_former_name_as_with_set(write):
    settings = config_file.combine(write("split.validation_per_class = 20"))
    assert value_of(settings, "split.validation") == 20
    settings = config_file.combine(
        write("[split]\nvalidation_per_class = 20"), assignments=["split.validation=0.1"]
    )
    assert value_of(settings, "split.validation") == 0.1


def test_a_key_has_one_of_its_names_in_a_file(refusal):
    message = refusal("[split]\nvalidation = 0.1\nvalidation_per_class = 20")
    assert "split.validation has two values, 0.1 and 20" in message


def test_the_command_line_wins_over_the_file(write):
    settings = config_file.combine(
        write(WHOLE),
        profile="best",
        data="/elsewhere",
        seed=9,
        assignments=["training.epochs=2", "name=roses"],
    )
    assert (settings.data, settings.profile, settings.seed) == ("/elsewhere", "best", 9)
    loaded = settings.config()
    assert (loaded.seed, loaded.training.epochs, loaded.name) == (9, 2, "roses")
    assert loaded.training.widths == (8, 16)


def test_an_assigned_seed_wins_over_that_of_the_file(write):
    settings = config_file.combine(write("seed = 7"), assignments=["seed=8"])
    assert settings.config().seed == 8


def test_without_a_file_everything_is_left_to_the_command_line():
    settings = config_file.combine(None)
    assert (settings.profile, settings.data, settings.seed) == (None, None, None)
    assert settings.config() == config.load_config("default")


def test_assignments_alone_repeat_what_a_file_asked_for(write):
    """A receipt keeps them, and not the file."""
    settings = config_file.combine(write(WHOLE))
    again = config.load_config(settings.profile, settings.assignments, seed=settings.seed)
    assert again == settings.config()


def test_data_may_be_a_table_with_the_keys_of_data(write, tmp_path):
    settings = config_file.combine(write('[data]\npath = "."\nbad_files = "skip"'))
    assert settings.data == str(tmp_path / "flowers")
    assert settings.config().data.bad_files == "skip"


def test_a_data_table_may_have_no_path(write):
    settings = config_file.combine(write('[data]\nbad_files = "skip"'))
    assert settings.data is None


@pytest.mark.parametrize("special", ["auto", "sample"])
def test_auto_and_sample_are_no_paths(write, special):
    settings = config_file.combine(write(f'data = "{special}"'))
    assert settings.data == special
    assert settings.sample == (special == "sample")


def test_an_address_stays_as_it_is(write):
    """`compile` takes one."""
    assert config_file.combine(write('data = "gs://bucket/photos"')).data == "gs://bucket/photos"


def test_an_address_with_one_slash_is_no_path_below_the_folder(write):
    with pytest.raises(PathError, match=r"data .*s3://BUCKET/FOLDER in this spelling"):
        config_file.combine(write('data = "s3:/bucket/photos"'))


def test_the_home_folder_is_known(write, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_file.combine(write('data = "~/photos"')).data == str(tmp_path / "photos")


def test_paths_count_from_the_folder_in_which_a_link_to_the_file_lies(write, tmp_path):
    write('data = "photos"')
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "pipeline.toml"
    link.symlink_to(tmp_path / "flowers" / "pipeline.toml")
    assert config_file.combine(link).data == str(tmp_path / "other" / "photos")


def test_paths_count_from_the_file_wherever_one_is(write, tmp_path, monkeypatch):
    path = write('data = "photos"')
    monkeypatch.chdir(tmp_path)
    relative = path.relative_to(tmp_path)
    assert config_file.combine(relative).data == str(tmp_path / "flowers" / "photos")


def test_a_text_that_looks_like_a_number_stays_a_text(write):
    assert config_file.combine(write('name = "5"')).config().name == "5"


def test_a_byte_order_mark_and_windows_line_ends_are_read(write):
    assert config_file.combine(write(b"\xef\xbb\xbfseed = 3\r\n")).seed == 3


REFUSED = {
    "no TOML": ("epochs: 30", "at line 1, column 7"),
    "half a text": ('name = "flow', "line 1"),
    "a key twice": ("seed = 1\nseed = 2", "line 2"),
    "lists without an end": ("a = " + "[" * 100_000, "nested too deeply"),
    "a number of 5,000 digits": ("seed = " + "1" * 5000, "not valid TOML"),
    "other text than UTF-8": (b'seed = 1\nname = "fl\xf6ren"', "line 2 is not UTF-8"),
    "a NUL": (b"seed = 1\0", "not valid TOML"),
    "too much": ("#" * 2**21, "larger than 1 MiB"),
    "an unknown key": ("[training]\nepoch = 3", "(the nearest is 'training.epochs')"),
    "a key without its section": ("epochs = 3", "(the nearest is 'training.epochs')"),
    "an unknown section": ("[trainig]\nepochs = 3", "unknown key 'trainig'"),
    "a key in quotes": ('"training.epochs" = 3', "write epochs below [training]"),
    "an unknown key of data": ("[data]\nfolder = 'x'", "unknown key 'data.folder'"),
    "a key with an escape": ('"\\u001b[1m" = 3', r"unknown key '\x1b[1m'"),
    "a value for a section": ("training = 3", "Write [training]"),
    "a table for a key": ("seed = {a = 1}", "seed: found {'a': 1}"),
    "a value out of range": ("[gates]\naccuracy = 1.5", "gates.accuracy: found 1.5; expected"),
    "a value of another kind": ("[training]\nepochs = 'many'", "training.epochs: found 'many'"),
    "a date": ("[training]\nepochs = 2026-01-01", "training.epochs: found"),
    "infinity": ("[training]\nlearning_rate = inf", "a finite number"),
    "a name of two words": ("name = 'my flowers'", "name: found 'my flowers'"),
    "a name as a number": ("name = 5", "name: found 5"),
    "a schema as a number": ("schema_file = 5", "schema_file: found 5"),
    "an unknown profile": ("profile = 'somke'", "(the nearest is 'smoke')"),
    "a profile as a number": ("profile = 3", "unknown profile '3'"),
    "data as a number": ("data = 5", "data: found 5"),
    "data as nothing": ("data = ''", "data: found ''"),
    "a path as a list": ("[data]\npath = ['a']", "data.path: found ['a']"),
    "data of nobody": ("data = '~nobody-here/x'", "home folder"),
    "data in two lines": ('data = "a\\nb"', "contains a line break"),
    "a newer version": ("version = 2\nfuture = true", "has version 2; expected at most 1"),
    "a version of long ago": ("version = 0", "version: found 0"),
    "a version in words": ("version = 'one'", "version: found 'one'"),
    "a version that is true": ("version = true", "version: found True"),
    "a seed below nothing": ("seed = -1", "seed: found -1"),
    "a seed in words": ("seed = 'x'", "seed: found 'x'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_words(case, refusal):
    content, told = REFUSED[case]
    assert told in refusal(content)


def test_a_bad_value_is_never_said_to_come_from_the_command_line(refusal):
    assert "--set" not in refusal("[gates]\naccuracy = 1.5")


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "round").symlink_to("round")
    for name, told in [
        ("absent.toml", "does not exist"),
        (".", "is a folder"),
        ("pipe", "is a pipe or a device"),
        ("round", "circular symbolic links"),
        ("absent/pipeline.toml", "does not exist"),
    ]:
        with pytest.raises(UsageError, match=told):
            config_file.read(tmp_path / name)


def test_a_file_inside_a_file_is_refused(write):
    with pytest.raises(UsageError, match="cannot be read"):
        config_file.read(write("seed = 1") / "pipeline.toml")


@hypothesis.given(strategies.binary(max_size=60))
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "pipeline.toml"
    path.write_bytes(content)
    try:
        config_file.combine(path)
    except UsageError as error:
        assert "expected" in str(error)


_SCALARS = (
    strategies.booleans()
    | strategies.integers(-(10**6), 10**6)
    | strategies.floats(allow_nan=False, allow_infinity=False)
    | strategies.text(strategies.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=9)
)


@hypothesis.given(
    strategies.sampled_from(sorted({*config.known_keys()} - {"schema_file"})), _SCALARS
)
def test_a_value_means_the_same_in_a_file_and_with_set(tmp_path_factory, key, value):
    text = json.dumps(value, ensure_ascii=False)
    assert tomllib.loads(f"x = {text}") == {"x": value}
    path = tmp_path_factory.mktemp("same") / "pipeline.toml"
    path.write_text(f"{key} = {text}\n", encoding="utf-8")
    try:
        expected = config.load_config("default", [f"{key}={text}"])
    except UsageError:
        with pytest.raises(UsageError):
            config_file.combine(path)
    else:
        assert config_file.combine(path).config() == expected
