"""What unit tests share: a folder with real archives, and an application over it that ends with the test."""

from __future__ import annotations

import gc
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

import pypiserver
from pypiserver.native_names import native, say_other_locale

from .rsgi import RsgiClient
from .wsgi import Client

if TYPE_CHECKING:
    from tests.cluster.services import PostgreSQL

OLD = 1_600_000_000
# A machine that others use is slow at times, and few characters can be printed; neither is a counterexample. Each
# of the Pythons of .ci/run tries other examples.
settings.register_profile(
    "patient", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
settings.load_profile("patient")
# To look for cycles among the objects of three thousand collected tests, again and again, is a tenth of all the work.
gc.set_threshold(100_000, 50, 50)


# Thousands of small files, many of which are synced, take half of the system's time there; none of these tests is about
# what a disk keeps.
MEMORY = "/dev/shm"
MEMORY_BYTES = 4 << 30


def pytest_configure(config: pytest.Config) -> None:
    """Folders of tests are in memory, but for those of the live ones, where there is plenty of it."""
    if not hasattr(config, "workerinput") and config.option.markexpr == "not live" and has_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)


def has_memory() -> bool:
    """Whether there is a file system in memory that has room, and lets programs be started from it."""
    if not os.path.isdir(MEMORY):
        return False
    found = os.statvfs(MEMORY)
    return found.f_bavail * found.f_frsize > MEMORY_BYTES and not found.f_flag & os.ST_NOEXEC


def pytest_collection_finish() -> None:
    """What was collected stays."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks a real PostgreSQL is among the tests that start servers."""
    for item in items:
        params = getattr(item, "callspec", None)
        asked = params is not None and "postgresql" in params.params.values()
        if asked or {"database", "database_server"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.live)
            item.add_marker(pytest.mark.database)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Whatever a test, or a command it runs, does to logging ends with it."""
    loggers = [logging.getLogger(name) for name in (None, "pypiserver", "pypiserver.access")]
    before = [(logger, list(logger.handlers), logger.level) for logger in loggers]
    filters = [(handler, list(handler.filters)) for handler in loggers[0].handlers]
    yield
    for logger, handlers, level in before:
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers[:] = handlers
        logger.setLevel(level)
    for handler, known in filters:
        handler.filters[:] = known


@pytest.fixture(scope="session")
def database_server() -> Iterator[PostgreSQL]:
    """A real PostgreSQL for the tests of this process; without one they are skipped, but not in CI."""
    pytest.importorskip("pwd", reason="there is no user to start PostgreSQL as")
    from tests.cluster.services import postgresql

    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def lent_database(database_server: PostgreSQL) -> str:
    """The address of the one database that the tests of this process use in turn."""
    return database_server.create(f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def database(lent_database: str) -> str:
    """The address of an empty database: to empty one takes a fifth of the time that it takes to make one.

    It is emptied before the test that needs it: only then have the applications of the one before ended.
    """
    import psycopg

    with psycopg.connect(lent_database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        schemas = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$'")
        for (name,) in schemas.fetchall():
            connection.execute(f'DROP SCHEMA "{name}" CASCADE')
        connection.execute("CREATE SCHEMA public")
    return lent_database


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    return folder


@pytest.fixture
def put(root: Path) -> Callable[..., Path]:
    """Put a file into the folder, long ago."""

    def put(name: str, data: bytes, *, mtime: float = OLD) -> Path:
        path = root / native(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (mtime, mtime))
        return path

    return put


@pytest.fixture
def serve(root: Path, tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Make an application over the folder, open to everyone unless told otherwise, and a client of it."""
    running = []

    def serve(**settings: object) -> Client:
        defaults: dict[str, object] = {
            "roots": [root],
            "password_file": ".",
            "authenticate": ".",
            "catalog": tmp_path / f"catalog-{len(running)}.sqlite",
        }
        if "auther" in settings or "authenticate" in settings:
            defaults.pop("password_file")
        if "rights" in settings:
            defaults.pop("authenticate")
        application = pypiserver.app(**{**defaults, **settings})
        running.append(application)
        # A step of .ci/run asks by RSGI what others ask by WSGI.
        return (RsgiClient if os.environ.get("RSGI") else Client)(application)

    yield serve
    for application in running:
        application.close()  # type: ignore[attr-defined]


# Said once in each process, and no test is about what the first one logs.
say_other_locale()
