"""How often a catalog in PostgreSQL is waited for: counted on the wire, where no one can forget one."""

from __future__ import annotations

import contextlib
import selectors
import socket
import statistics
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from pypiserver.bucket.catalog import BucketCatalog
from pypiserver.catalog import Catalog, CatalogError, Digest, Fingerprint, SeenFile, statements
from pypiserver.catalog.database import Connection
from pypiserver.distributions.filename import parse_filename

SHA256 = "ab" * 32
DIGEST = Digest(SHA256, metadata=b"Name: foo", metadata_sha256=SHA256, summary="a word")


class Wire:
    """Carries bytes between one client and a server, and counts the times that the client speaks after an answer."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.round_trips = 0
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        # Either end may go without a word.
        with contextlib.suppress(OSError):
            self._carry()

    def _carry(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection(self._server) as server, selectors.DefaultSelector() as selector:
            others = {client: server, server: client}
            for each in others:
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(each, selectors.EVENT_READ)
            last = server
            while True:
                for key, _ in selector.select():
                    speaker = client if key.fileobj is client else server
                    data = speaker.recv(1 << 16)
                    if not data:
                        return
                    self.round_trips += speaker is client and last is server
                    last = speaker
                    others[speaker].sendall(data)

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def counting(wire: Wire) -> Iterator[list[int]]:
    """What was counted while the block ran is in the list when it has ended."""
    counted: list[int] = []
    before = wire.round_trips
    yield counted
    counted.append(wire.round_trips - before)


@pytest.fixture
def wire(database: str) -> Iterator[Wire]:
    address = urlsplit(database)
    assert address.hostname and address.port
    wire = Wire((address.hostname, address.port))
    yield wire
    wire.close()


@pytest.fixture
def catalog(database: str, wire: Wire) -> Iterator[BucketCatalog]:
    address = urlsplit(database)
    through = address._replace(netloc=f"{address.username}@127.0.0.1:{wire.port}").geturl()
    catalog = BucketCatalog(through, "roots")
    catalog.add(found("other-1.0.zip"), DIGEST, exclusive=True)
    catalog.listing.complete()
    yield catalog
    catalog.connections.close()


def assert_at_most(most: int, counts: list[int]) -> None:
    """Who still speaks while an early answer arrives has not waited for it, but is counted: once, now and then."""
    assert statistics.median(counts) <= most, counts
    assert max(counts) <= most + 1, counts


def found(filename: str, sha256: str = SHA256) -> SeenFile:
    return SeenFile(0, f"{sha256}/{filename}", Fingerprint(10, 1, 1, ""), parse_filename(filename))


def test_a_question_is_one_round_trip(catalog: Catalog, wire: Wire) -> None:
    # The driver prepares what comes again, which is one more.
    for _ in range(3):
        catalog.project_state("other")
    for _ in range(10):
        with counting(wire) as counted:
            catalog.project_state("other")
        assert counted == [1]


# The name, or what else has it; then all else and the end. A statement that waits for itself shows here.
@pytest.mark.parametrize(
    ("write", "most"),
    [
        (lambda catalog, name: catalog.add(found(name), DIGEST, exclusive=True), 2),
        (lambda catalog, name: catalog.add(found(name), DIGEST), 1),
        (lambda catalog, name: catalog.replace(found(name), DIGEST), 2),
        (lambda catalog, name: catalog.apply([found(name)]), 2),
    ],
    ids=["upload", "upload to a folder", "overwriting upload", "change by hand"],
)
def test_a_write_waits_for_few_answers(
    write: Callable[[Catalog, str], object], most: int, catalog: Catalog, wire: Wire
) -> None:
    counts = []
    for number in range(10):
        with counting(wire) as counted:
            write(catalog, f"foo-1.{number}.zip")
        counts += counted
    assert_at_most(most, counts)
    assert len(catalog.files_of("foo")) == 10
    assert [(each.project, each.files) for each in catalog.listing.newest(5)] == [("other", 1), ("foo", 10)]


def test_a_refused_upload_waits_for_four_answers(catalog: Catalog, wire: Wire) -> None:
    counts = []
    for number in range(10):
        with counting(wire) as counted:
            standing = catalog.add(found("other-1.0.zip", f"{number:064x}"), Digest(f"{number:064x}"), exclusive=True)
        assert standing is not None and standing.sha256 == SHA256
        counts += counted
    # The last one: whether what has the name is damaged, and gives it up.
    assert_at_most(4, counts)
    assert catalog.files_of("other")[0].sha256 == SHA256


# Where the failure shows: when the block ends, at an answer that is asked for, at a statement of many rows.
@pytest.mark.parametrize(
    "go_on",
    [
        lambda connection: None,
        lambda connection: connection.execute(statements.SELECT_SERIAL).fetchone(),
        lambda connection: connection.execute(statements.NEXT_SERIAL).rowcount,
        lambda connection: connection.executemany(statements.CHOOSE_VISIBLE, [{"filename": "foo"}] * 2000).rowcount,
        lambda connection: list(connection.stream("SELECT 1").__enter__()),
    ],
    ids=["end", "row", "count", "many", "stream"],
)
def test_a_statement_that_fails_undoes_all_and_is_named(
    go_on: Callable[[Connection], object], database: str, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    before = catalog.serial()
    caplog.clear()
    with pytest.raises(CatalogError, match="division by zero"), catalog.connections.transaction() as connection:
        connection.execute(statements.NEXT_SERIAL)
        connection.execute("SELECT 1 / (value - value) FROM serial")
        go_on(connection)
    assert not caplog.records, "what follows from the failure is no news"
    another = Catalog(database, "roots")
    assert another.serial() == before
    another.connections.close()


def test_a_block_that_fails_is_undone_and_its_connection_used_again(catalog: Catalog, wire: Wire) -> None:
    before = catalog.serial()
    for _ in range(2):
        with pytest.raises(KeyError), catalog.connections.transaction() as connection:
            connection.execute(statements.NEXT_SERIAL)
            raise KeyError
    assert catalog.serial() == before, "through the one connection that the wire takes"


def test_rows_are_streamed_between_statements_of_a_transaction(catalog: Catalog) -> None:
    before = catalog.serial()
    with catalog.connections.transaction() as connection:
        connection.execute(statements.NEXT_SERIAL)
        with connection.stream("SELECT value FROM serial") as rows:
            assert list(rows) == [(before + 1,)]
        connection.execute(statements.NEXT_SERIAL)
    assert catalog.serial() == before + 2
