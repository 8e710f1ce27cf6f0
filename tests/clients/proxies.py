"""Servers of ours in front of other indexes, and what these indexes have, for the tests with real clients."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.clients.harness import Client, server_environ
from tests.clients.samples import ANY_PYTHON, add_wheel, fill
from tests.fake_upstream import FakeUpstream
from tests.live_server import LiveServer, pypi_server, running
from tests.ports import free_ports

# The graph: each of 60 needs the next three of its row, so that a resolver has to read all of them.
MANY = {f"raven-{number:02}": "1.0" for number in range(60)}


TABLE = """[[upstream]]
name = "{name}"
url = "{url}"
hosts = {hosts}
"""


@dataclass
class Front:
    """A server of ours in front of an index; its own packages are in ``home/packages``, its cache in ``home/cache``.

    It keeps its port. ``hosts`` are further servers that the index's files are on: one that has no public address has
    to be named.
    """

    home: Path
    url: str
    hosts: tuple[str, ...] = ()
    port: int = field(default_factory=lambda: free_ports(1)[0])

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @contextmanager
    def running(self, *flags: str) -> Iterator[LiveServer]:
        """Run it until the block ends; the next one has the same cache."""
        (self.home / "packages").mkdir(parents=True, exist_ok=True)
        table = TABLE.format(name="index", url=self.url, hosts=json.dumps(self.hosts))
        (self.home / "pypiserver.toml").write_text(table)
        command = pypi_server(
            *("-p", str(self.port), "--fallback-mode", "cache", "--cache-folder", self.cache),
            *("--fallback-url", self.url, *flags, self.home / "packages"),
        )
        with running(command, environ=server_environ(self.home / "home"), cwd=self.home) as server:
            yield server

    @property
    def kept(self) -> Path:
        """The folder with the files of the index."""
        return self.cache / "index"


def on_new_machine(client: Client, name: str) -> Client:
    """The same client on another machine: it has kept nothing."""
    return replace(client, home=client.home.with_name(f"{client.home.name}-{name}"))


def publish(up: FakeUpstream, folder: Path, *, form: str = "", **fields: object) -> None:
    """Put the wheels of a folder on an index; ``form`` is where a file is, with ``{}`` for its name."""
    for path in sorted(folder.glob("*.whl")):
        project = path.name.split("-")[0]
        said = metadata_of(path)
        up.add(
            project.replace("_", "-"),
            path.name,
            path.read_bytes(),
            path=form.format(path.name) if form else "",
            relative=bool(form),
            metadata=said,
            requires_python=requires_python_of(said),
            **fields,
        )


def metadata_of(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return archive.read(name)


def requires_python_of(metadata: bytes) -> str:
    (line,) = (each for each in metadata.decode().splitlines() if each.startswith("Requires-Python: "))
    return line.partition(": ")[2]


def add_many(folder: Path, names: Sequence[str] = tuple(MANY)) -> None:
    """Wheels of 60 projects that need each other, each in two versions."""
    for number, name in enumerate(names):
        needs = [f"{each}>=1" for each in names[number + 1 : number + 4]]
        add_wheel(folder, name, "0.9", needs=needs, python=ANY_PYTHON)
        add_wheel(folder, name, "1.0", needs=needs, python=ANY_PYTHON)


def add_shelf(up: FakeUpstream, folder: Path, **options: object) -> None:
    """The packages that most tests of clients install, on another index."""
    folder.mkdir(exist_ok=True)
    fill(folder)
    publish(up, folder, **options)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, str]:
    """The files that a folder of packages gives out, by name."""
    found = (path for path in folder.rglob("*") if path.suffix in (".whl", ".gz", ".zip"))
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
