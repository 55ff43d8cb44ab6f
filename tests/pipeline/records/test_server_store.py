"""ML Metadata in a real database: its faults in words, and what several pipelines share."""

import threading

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from operations import numbering
from pipeline.database import binding
from pipeline.database.address import parse
from pipeline.errors import StoreError, StoreLockedError, StoreUnreachableError
from pipeline.locations import Locations
from pipeline.records import metadata, server_store
from tests.postgresql import PASSWORD

HARD = 'a\\b\u241b0"\\u00e9"\u00e9\u241b1\'; DROP TABLE type; --\\'


@pytest.fixture
def address(postgresql, database):
    return parse(postgresql.uri(database))


def refusal(address, kind=StoreError):
    with pytest.raises(kind) as caught:
        metadata.open_store(address)
    return str(caught.value)


def put_context(store, name, text):
    type_id = store.put_context_type(mlmd.ContextType(name="kind"))
    context = mlmd.Context(type_id=type_id, name=name)
    context.custom_properties["text"].string_value = text
    context.custom_properties["tree"].struct_value.update({text: [text]})
    return store.put_contexts([context])[0]


def test_a_store_in_a_database_takes_every_text(address):
    """Also those with a backslash, which ML Metadata's client writes as no SQL."""
    store = metadata.open_store(address)
    number = put_context(store, HARD, HARD)
    (context,) = metadata.open_store(address).get_contexts_by_id([number])
    assert context.name == HARD
    assert context.custom_properties["text"].string_value == HARD
    assert list(context.custom_properties["tree"].struct_value[HARD]) == [HARD]
    assert store.get_context_by_type_and_name("kind", HARD).id == number


def test_a_store_in_a_file_is_written_as_before(address, tmp_path):
    metadata.open_store(address)
    store = metadata.open_store(tmp_path / "metadata.db")
    (context,) = store.get_contexts_by_id([put_context(store, "name", HARD)])
    assert context.custom_properties["text"].string_value == HARD
    assert HARD.encode() in (tmp_path / "metadata.db").read_bytes()


def test_a_server_that_is_down_is_told(address, postgresql):
    with postgresql.stopped():
        told = refusal(address, StoreUnreachableError)
    assert told.startswith(f"the {address.shown} cannot be reached (Connection refused)")
    assert told.endswith("Start it, or correct metadata.uri, and try again.")
    metadata.open_store(address)


def test_a_host_that_does_not_exist_is_told(address):
    told = refusal(parse("postgresql://ada@no-such-host.invalid/ml"), StoreLockedError)
    assert "cannot be reached" in told


def test_a_wrong_password_is_told(address, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "not the right one")
    told = refusal(address)
    assert "refuses the password of postgres, or there is no such role; expected" in told
    assert "not the right one" not in told


def test_a_role_that_does_not_exist_is_told(postgresql, database):
    """The server does not say which of them is wrong."""
    assert "or there is no such role" in refusal(parse(postgresql.uri(database, "nobody")))


def test_a_missing_password_is_told(address, monkeypatch, tmp_path):
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("HOME", str(tmp_path))
    lacking = "asks for a password of postgres, and there is none: PGPASSWORD is not set, and "
    file, place = tmp_path / ".pgpass", f"127.0.0.1:{address.port}:{address.database}:postgres"
    assert f"{lacking}there is no file {file}; expected" in refusal(address)
    file.touch(mode=0o600)
    file.write_text(f"127.0.0.1:1:{address.database}:postgres:{PASSWORD}\n")
    told = refusal(address)
    assert f"{lacking}no line of {file} is for {place}; expected" in told
    assert f"the line {place}:PASSWORD into {file}" in told
    assert PASSWORD not in told


def test_a_database_that_does_not_exist_is_told_and_not_made(postgresql, database):
    absent = parse(postgresql.uri(f"{database}x"))
    assert f"no database {database}x; expected one, which may be empty" in refusal(absent)
    assert postgresql.query("SELECT 1 FROM pg_database WHERE datname = :n", n=absent.database) == []


def test_another_version_of_the_schema_is_told(address, postgresql, database):
    metadata.open_store(address)
    postgresql.query("UPDATE mlmdenv SET schema_version = 11", database)
    assert "has version 11 of ML Metadata's schema; expected version 10" in refusal(address)


def test_tables_of_another_program_are_told(address, postgresql, database):
    postgresql.query("CREATE TABLE artifact (price integer)", database)
    assert "has tables of another program" in refusal(address)
    assert postgresql.query("SELECT to_regclass('execution')", database) == [[None]]


def test_a_role_that_may_do_too_little_is_told(postgresql, database):
    role = f"reader_{database}"
    postgresql.query(f"CREATE ROLE {role} LOGIN PASSWORD 'hunter2secret'")
    reader = parse(postgresql.uri(database, role))
    try:
        assert "may make no tables" in refusal(reader)
        metadata.open_store(parse(postgresql.uri(database)))
        assert "may not write to the tables" in refusal(reader)
    finally:
        postgresql.query(f"DROP ROLE {role}")


def test_a_store_whose_connection_was_cut_is_told(address, postgresql, database):
    store = metadata.open_store(address)
    postgresql.cut(database)
    with pytest.raises(StoreUnreachableError, match="may have been restarted"):
        store.get_artifacts()


def test_several_that_come_first_at_the_same_time_make_one_store(address):
    stores, threads = [], []
    for _ in range(4):
        thread = threading.Thread(target=lambda: stores.append(metadata.open_store(address)))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    assert [store.get_artifacts() for store in stores] == [[]] * 4


def test_the_number_of_a_folder_is_given_to_no_other_execution(address, tmp_path):
    locations = Locations(tmp_path / "clothes")
    (locations.artifacts / "Trainer" / "model" / "1999999999").mkdir(parents=True)
    binding.write(locations, address)
    store = metadata.open_store(address)
    assert "1999999999" not in (numbering.continue_from_now(locations) or "")
    type_id = store.put_execution_type(mlmd.ExecutionType(name="Trainer"))
    assert store.put_executions([mlmd.Execution(type_id=type_id)]) == [2_000_000_000]
    # Another pipeline, whose folders have lower numbers, sets nothing back.
    assert server_store.raise_execution_number(address, 5) == 2_000_000_000
    assert store.put_executions([mlmd.Execution(type_id=type_id)]) == [2_000_000_001]
