"""Fixtures of the client tests: real servers and recorders that end with the test, and clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clients.environments import MissingPythonError, ensure
from tests.clients.harness import Client, server_environ, write_password_file
from tests.clients.recording import Recorder, recording
from tests.live_server import LiveServer, pypi_server, running

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.client)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """The folder that is served."""
    folder = tmp_path / "packages"
    folder.mkdir()
    return folder


@pytest.fixture
def serve(stack: ExitStack, tmp_path: Path, packages: Path) -> Callable[..., LiveServer]:
    """Start a server over `packages` or another folder, with further arguments; it ends with the test."""

    def serve(*arguments: str | Path, folder: Path = packages) -> LiveServer:
        command = pypi_server("--disable-fallback", *arguments, folder)
        return stack.enter_context(running(command, environ=server_environ(tmp_path / "server"), cwd=tmp_path))

    return serve


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    return write_password_file(tmp_path / "htpasswd.txt")


@pytest.fixture
def record(stack: ExitStack) -> Callable[[LiveServer], Recorder]:
    """Put a recorder in front of a server."""
    return lambda server: stack.enter_context(recording(server.url))


@pytest.fixture
def client(tmp_path: Path) -> Callable[[str], Client]:
    """A client by the name it has in `environments`; the test is skipped where no Python for it exists."""

    def client(name: str) -> Client:
        try:
            programs = ensure(name)
        except MissingPythonError as missing:
            pytest.skip(str(missing))
        return Client(name, programs, tmp_path / f"home-{name}")

    return client
