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
    "uri",
    [
        "",
        "ml",
        "sqlite:///metadata.db",
        "postgres://ada@db/ml",
        "mysql://ada@db/ml",
        "postgresql://db/ml",
        "postgresql://ada@/ml",
        "postgresql://ada@db",
        "postgresql://ada@db/",
        "postgresql://ada@db:0/ml",
        "postgresql://ada@db:65536/ml",
        "postgresql://ada@db/ml?sslmode=require",
        "postgresql://ada@db/ml host=other",
        "postgresql://-ada@db/ml",
    ],
)
def test_another_form_is_refused_with_the_one_that_is_expected(uri):
    with pytest.raises(ConfigurationError) as caught:
        config.load_config("default", [f'metadata.uri="{uri}"'])
    assert "expected postgresql://USER@HOST:5432/DATABASE" in str(caught.value)


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
