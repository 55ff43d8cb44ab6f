"""A PostgreSQL server of the tests' own."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.skipping import skip_loudly

USER, PASSWORD = "postgres", "hunter2secret"
# Debian keeps the programs of each version apart, and none of them on the path.
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
MISSING = (
    "NO TEST OF METADATA IN A DATABASE: the programs of PostgreSQL's server are not installed. "
    "Install them with: apt-get install postgresql"
)


class Server:
    """A server on a free port of this machine, which takes passwords alone."""

    def __init__(self, programs, folder):
        self._programs = programs
        self._folder = folder
        # PostgreSQL refuses to run as root.
        self._owner = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        if self._owner:
            os.chown(folder, self._owner.pw_uid, self._owner.pw_gid)
        self.port = free_port()
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run("initdb", "-U", USER, "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync")

    def _run(self, program, *arguments):
        owner = {"user": self._owner.pw_uid, "group": self._owner.pw_gid} if self._owner else {}
        subprocess.run(
            [self._programs / program, "-D", self._folder / "data", *arguments],
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            check=True,
            cwd="/",
            extra_groups=[] if self._owner else None,
            **owner,
        )

    def start(self):
        """Starts it; it answers then."""
        settings = {"listen_addresses": "127.0.0.1", "fsync": "off", "max_connections": "30"}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        options += f" -p {self.port} -k {self._folder}"
        self._run("pg_ctl", "-w", "-o", options, "-l", self._folder / "log", "start")

    def stop(self):
        """Ends it, and all its sessions."""
        self._run("pg_ctl", "-w", "-m", "fast", "stop")

    @contextlib.contextmanager
    def stopped(self):
        """Stops it until the block ends."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def cut(self, database):
        """Ends all sessions of a database, as an administrator, a firewall or a fault does."""
        self.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name",
            name=database,
        )

    def query(self, statement, database="postgres", **values):
        """What a statement of the administrator returns."""
        from pg8000 import native

        session = native.Connection(
            USER, "127.0.0.1", database, port=self.port, password=PASSWORD, timeout=60
        )
        with contextlib.closing(session):
            return session.run(statement, **values)

    def uri(self, database, user=USER):
        """The address of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"


@pytest.fixture(scope="session")
def postgresql():
    """A server that answers. It stops with the session."""
    if not PROGRAMS:
        skip_loudly(MISSING, "postgresql")
    # Not below pytest's own folder, which the user of the server may not enter.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        server = Server(PROGRAMS[-1], folder)
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def database(postgresql, request, monkeypatch):
    """The name of an empty database, whose password is in the environment."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.delenv("PGPASSFILE", raising=False)
    name = f"d{abs(hash(request.node.nodeid)):x}"
    postgresql.query(f"CREATE DATABASE {name}")
    yield name
    postgresql.query(f"DROP DATABASE {name} WITH (FORCE)")
