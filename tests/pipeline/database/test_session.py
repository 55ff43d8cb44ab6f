"""A session of a real database: which of its faults pass, and what answers in its place."""

import socket
import threading

import pytest

from pipeline.database import session
from pipeline.database.address import Address, parse
from pipeline.database.session import Session
from pipeline.errors import StoreError, StoreUnreachableError


@pytest.fixture
def address(postgresql, database):
    return parse(postgresql.uri(database))


def test_a_lock_that_others_hold_passes(address):
    with Session(address) as holder, Session(address) as waiting:
        holder.query("SELECT pg_advisory_lock(1)")
        waiting.query("SET lock_timeout = '10ms'")
        with pytest.raises(StoreUnreachableError, match=r"in use by others .*lock timeout"):
            waiting.query("SELECT pg_advisory_lock(1)")


def test_a_deadlock_passes(address):
    with Session(address) as one, Session(address) as two:
        for each, key in ((one, 1), (two, 2)):
            each.query("SET deadlock_timeout = '10ms'")
            each.query("SELECT pg_advisory_lock(:key)", key=key)
        errors = []

        def cross(each, key):
            try:
                each.query("SELECT pg_advisory_lock(:key)", key=key)
            except StoreUnreachableError as error:
                errors.append(str(error))
                each.query("SELECT pg_advisory_unlock_all()")

        other = threading.Thread(target=cross, args=(one, 2))
        other.start()
        cross(two, 1)
        other.join()
    (told,) = errors
    assert "deadlock detected" in told


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad\r\n\r\n",
        b"220 smtp\r\n",
        b"NQ\0\0\0\4",
        b"NR\0\0\0\4",
        b"NE\0\0\0\6M\xff",
    ],
)
def test_another_program_in_the_place_of_the_server_is_told(answer, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "unused")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                # It first asks for TLS, which the letter N refuses.
                connection.recv(1000)
                connection.sendall(answer[:1])
                connection.recv(1000)
                connection.sendall(answer[1:])

        other = threading.Thread(target=serve)
        other.start()
        with pytest.raises(StoreUnreachableError, match="cannot be reached"):
            Session(Address("ada", "127.0.0.1", server.getsockname()[1], "ml"))
        other.join()


def test_a_session_that_cannot_be_set_up_is_closed(address, postgresql, database, monkeypatch):
    monkeypatch.setattr(session, "_SETTINGS", ("SET no_such_setting = 1",))
    with pytest.raises(StoreError, match="no_such_setting") as caught:
        Session(address)
    # The error keeps its frames, and so the connection, alive.
    assert caught.value.__traceback__
    sessions = "SELECT 1 FROM pg_stat_activity WHERE datname = :name"
    while postgresql.query(sessions, name=database):
        pass
