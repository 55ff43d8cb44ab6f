"""The address of a database: what is taken, and that a password in it is shown nowhere."""

import hypothesis
import pytest
from hypothesis import strategies

from components.redaction import redacted
from pipeline import config, config_file
from pipeline.database.address import Address, AddressError, parse
from pipeline.errors import ConfigurationError

NEEDLE = "hunter2secret"
# Whatever people put around a password, and forget to encode.
AROUND = strategies.text(alphabet="aZ0 @:/?#[]%&=+~'\"\\\t\u00e9.-_", max_size=6)


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("postgresql://ada@db.example.org/ml", Address("ada", "db.example.org", 5432, "ml")),
        ("postgresql://a.b-c_d@10.0.0.7:6543/m-l", Address("a.b-c_d", "10.0.0.7", 6543, "m-l")),
        ("postgresql://ada@[::1]:5432/ml", Address("ada", "::1", 5432, "ml")),
    ],
)
def test_an_address_is_read_and_written_with_its_port(uri, address):
    assert parse(uri) == parse(address.uri) == address
    assert config.load_config("default", [f"metadata.uri={uri}"]).metadata.address == address
    # Nothing in it has to be hidden, so that a message can show how to go on.
    assert redacted(f"--set metadata.uri={address.uri}.") == f"--set metadata.uri={address.uri}."


@pytest.mark.parametrize(
    ("uri", "fault"),
    [
        ("", "without postgresql:// at its beginning"),
        ("ml", "without postgresql:// at its beginning"),
        (f"ada:{NEEDLE}@db/ml", "without postgresql:// at its beginning"),
        (f"ada:{NEEDLE}@db://ml", "without postgresql:// at its beginning"),
        ("sqlite:///metadata.db", "that begins with sqlite://"),
        ("postgres://ada@db/ml", "that begins with postgres://"),
        ("mysql://ada@db/ml", "that begins with mysql://"),
        (f"postgresql://ada@db/ml?password={NEEDLE}", "with a query or a fragment"),
        (f"postgresql://ada@db/ml#{NEEDLE}", "with a query or a fragment"),
        ("postgresql://db/ml", "without a user"),
        (f"postgresql://ada:{NEEDLE}/ml", "without a user"),
        ("postgresql://@db/ml", "without a user"),
        (f"postgresql://-{NEEDLE}@db/ml", "whose user is not a valid name"),
        ("postgresql://ada@/ml", "without a host"),
        ("postgresql://ada@:5432/ml", "without a host"),
        (f"postgresql://ada@{NEEDLE}!/ml", "whose host is not a valid name"),
        ("postgresql://ada@fe80::1/ml", "whose host is not a valid name"),
        ("postgresql://ada@[::1/ml", "whose host is not a valid name"),
        ("postgresql://ada@[::1]1/ml", "whose host is not a valid name"),
        ("postgresql://ada@db", "without a database"),
        ("postgresql://ada@db/", "without a database"),
        (f"postgresql://ada@db/ml password={NEEDLE}", "whose database is not a valid name"),
        ("postgresql://ada@db:0/ml", "whose port is no number from 1 to 65535"),
        ("postgresql://ada@db:65536/ml", "whose port is no number from 1 to 65535"),
        (f"postgresql://ada@db:{NEEDLE}/ml", "whose port is no number from 1 to 65535"),
        ("postgresql://ada@db:/ml", "whose port is no number from 1 to 65535"),
    ],
)
def test_the_wrong_part_of_an_address_is_named_and_not_repeated(uri, fault):
    with pytest.raises(ConfigurationError) as caught:
        config.load_config("default", [f'metadata.uri="{uri}"'])
    told = str(caught.value)
    assert f"found an address {fault}" in told
    assert "; expected postgresql://USER@HOST:5432/DATABASE. " in told
    assert NEEDLE not in told


def test_a_value_of_another_kind_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"metadata\.uri: found 3; expected a valid string"
    ):
        config.load_config("default", ["metadata.uri=3"])


@hypothesis.given(AROUND, AROUND)
def test_a_password_in_an_address_is_refused_and_not_repeated(before, after):
    uri = f"postgresql://ada:{before}{NEEDLE}{after}@db.example.org/ml"
    with pytest.raises(AddressError, match=r"with a password.*PGPASSWORD.*pgpass") as caught:
        parse(uri)
    assert NEEDLE not in str(caught.value)
    with pytest.raises(ConfigurationError) as refused:
        config.load_config("default", [f"metadata.uri={uri}"])
    assert NEEDLE not in str(refused.value)


def test_a_password_in_a_configuration_file_is_refused_and_not_repeated(tmp_path):
    file = tmp_path / "pipeline.toml"
    file.write_text(f'[metadata]\nuri = "postgresql://ada:a {NEEDLE}@db/ml"\n')
    with pytest.raises(ConfigurationError, match="with a password") as caught:
        config_file.read(file)
    assert NEEDLE not in str(caught.value)
