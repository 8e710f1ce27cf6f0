"""Tokens in PostgreSQL: a revocation counts everywhere within a second, and an outage refuses no token."""

from __future__ import annotations

import hashlib
import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pypiserver.access import token_table
from pypiserver.access.token_lines import TokenLines
from pypiserver.access.token_record import Limits, TokenRecord, mint, to_line
from pypiserver.access.token_table import STEPS, TokenTable, TokenTableStore
from pypiserver.access.tokens import Tokens
from pypiserver.catalog import Catalog
from pypiserver.catalog.errors import CatalogError
from pypiserver.catalog.postgres import own_tables
from pypiserver.catalog.postgres.pool import Pool
from pypiserver.errors import ConfigError, Unauthorized, Unavailable
from tests.raising import raises

from .credentials import identify

if TYPE_CHECKING:
    from tests.cluster.services import PostgreSQL

if sys.platform == "win32":
    pytest.skip("no database is started here", allow_module_level=True)
NOW = 1_800_000_000
# What a step was when it was released. Never change a line of it; add one.
RELEASED = ["37469857"]


def made(user: str = "ci") -> tuple[TokenRecord, str]:
    return mint(user, Limits(("upload",), ("acme-*",)), seconds=None, now=NOW)


def put(store: TokenTableStore, *records: TokenRecord) -> None:
    store.change(lambda tokens: records)


def replica(address: str) -> tuple[Tokens, list[float]]:
    """A server that shares the tokens, and its monotonic clock."""
    now = [100.0]
    return Tokens(TokenTable(address, clock=lambda: now[0]), lambda user: True, clock=lambda: NOW), now


def test_the_released_steps_are_as_they_were() -> None:
    assert [hashlib.sha256(repr(step).encode()).hexdigest()[:8] for step in STEPS] == RELEASED


def test_an_address_with_a_password_is_never_shown() -> None:
    store = TokenTableStore("postgresql://user:s3cret@127.0.0.1:1/tokens?connect_timeout=1")
    assert str(store) == "postgresql://127.0.0.1:1/tokens"
    with raises(Unavailable) as caught:
        store.tokens()
    assert "s3cret" not in str(caught.value)


def test_what_is_written_is_read(database: str) -> None:
    store = TokenTableStore(database)
    assert list(store.tokens()) == []
    assert store.uses() == {}
    records = [made(f"user{number}")[0] for number in range(5)]
    for record in records:
        put(store, record)
    put(store, replace(records[0], revoked=NOW))
    assert {each.id: each for each in TokenTableStore(database).tokens()} == {
        each.id: each for each in (replace(records[0], revoked=NOW), *records[1:])
    }


def test_a_revocation_counts_on_every_replica_within_a_second(database: str) -> None:
    store = TokenTableStore(database)
    record, text = made()
    put(store, record)
    replicas = [replica(database) for _ in range(3)]
    for tokens, _ in replicas:
        assert identify(tokens, f"Bearer {text}") is not None
    put(store, replace(record, revoked=NOW))
    for tokens, now in replicas:
        now[0] += 0.999
        assert identify(tokens, f"Bearer {text}") is not None
        now[0] += 0.001
        with raises(Unauthorized, kind="revoked"):
            identify(tokens, f"Bearer {text}")
        tokens.close()


def test_a_new_token_counts_within_a_second_and_costs_its_own_line_only(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TokenTableStore(database)
    put(store, *(made()[0] for _ in range(20)))
    source_now = [0.0]
    source = TokenTable(database, clock=lambda: source_now[0])
    first = source.current()
    record, _ = made()
    put(store, record)
    monkeypatch.setattr(token_table, "read_lines", lambda *_: pytest.fail("all lines are read again"))
    source_now[0] = 1.0
    assert source.current().get(record.id) == record
    assert len(source.current()) == len(first) + 1
    source_now[0] = 2.0
    # Nothing changed: the same value, so what is remembered by it stays.
    assert source.current() is source.current()
    source.close()


def test_a_copy_that_is_older_or_another_table_is_read_as_a_whole(database: str, database_server: PostgreSQL) -> None:
    store = TokenTableStore(database)
    old, new = made()[0], made()[0]
    put(store, old)
    now = [0.0]
    source = TokenTable(database, clock=lambda: now[0])
    name = database.rpartition("/")[2]
    database_server.sql("CREATE TABLE api_token_copy AS SELECT * FROM api_token", name)
    database_server.sql("CREATE TABLE api_meta_copy AS SELECT * FROM api_token_meta", name)
    put(store, new)
    assert len(source.current()) == 2
    database_server.sql("DELETE FROM api_token", name)
    database_server.sql("INSERT INTO api_token SELECT * FROM api_token_copy", name)
    database_server.sql("DELETE FROM api_token_meta", name)
    database_server.sql("INSERT INTO api_token_meta SELECT * FROM api_meta_copy", name)
    now[0] = 1.0
    assert [each.id for each in source.current()] == [old.id]
    source.close()


def test_commands_at_the_same_time_lose_no_token(database: str) -> None:
    records = [made(f"user{number}")[0] for number in range(8)]
    threads = [threading.Thread(target=put, args=(TokenTableStore(database), each)) for each in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.id for each in TokenTableStore(database).tokens()} == {each.id for each in records}


def test_an_outage_is_an_outage_and_ends_by_itself(
    database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    record, text = made()
    put(TokenTableStore(database), record)
    tokens, now = replica(database)
    assert identify(tokens, f"Bearer {text}") is not None
    connects: list[str] = []
    real = own_tables.connect

    def refused(*arguments: object, **options: object) -> None:
        connects.append("tried")
        raise CatalogError("connection refused")

    monkeypatch.setattr(own_tables, "connect", refused)
    source = tokens._source
    assert isinstance(source, TokenTable)
    source.close()
    # Within its second it goes by what was read.
    assert identify(tokens, f"Bearer {text}") is not None
    now[0] += 1.0
    for _ in range(5):
        with raises(Unavailable) as caught:
            identify(tokens, f"Bearer {text}")
        assert "connection refused" not in caught.value.public
    # Others fail at once while one tries again twice a second.
    assert connects == ["tried"]
    # Passwords need no table, and what was cut is refused without one.
    assert identify(tokens, "Basic Y2k6czNjcmV0") is None
    with raises(Unauthorized):
        identify(tokens, f"Bearer {text[:-1]}")
    monkeypatch.setattr(own_tables, "connect", real)
    now[0] += 0.5
    assert identify(tokens, f"Bearer {text}") is not None
    tokens.close()


def test_a_server_needs_tables_that_a_command_made(database: str) -> None:
    source = TokenTable(database)
    with raises(ConfigError, kind="missing", setting="tokens"):
        source.check()
    # To a client that is an outage, as is a table that was dropped.
    with raises(Unavailable):
        source.current()
    source.close()
    put(TokenTableStore(database), made()[0])
    source = TokenTable(database)
    source.check()
    source.close()


def test_a_line_that_cannot_be_used_is_named_at_the_start(database: str, database_server: PostgreSQL) -> None:
    record, text = made()
    put(TokenTableStore(database), record)
    line = to_line(record).replace('"may"', '"maybe"')
    database_server.sql(f"UPDATE api_token SET line = '{line}'", database.rpartition("/")[2])
    source = TokenTable(database)
    with raises(ConfigError, kind="line"):
        source.check()
    with raises(Unauthorized):
        identify(Tokens(source, lambda user: True), f"Bearer {text}")
    source.close()


def test_uses_of_several_servers_are_joined(database: str) -> None:
    store = TokenTableStore(database)
    put(store, made()[0])
    for hours in ({"aaaaaaaa": 7200, "bbbbbbbb": 3600}, {"aaaaaaaa": 3600, "cccccccc": 0}):
        source = TokenTable(database)
        source.add_uses(hours)
        source.close()
    assert store.uses() == {"aaaaaaaa": 7200, "bbbbbbbb": 3600, "cccccccc": 0}


def test_a_user_who_may_only_read_serves_and_writes_no_uses(
    database: str, database_server: PostgreSQL, caplog: pytest.LogCaptureFixture
) -> None:
    record, text = made()
    put(TokenTableStore(database), record)
    name = database.rpartition("/")[2]
    database_server.sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        tokens, _ = replica(database)
        with caplog.at_level(logging.INFO):
            assert identify(tokens, f"Bearer {text}") is not None
            tokens._uses.flush()
            tokens._uses.flush()
        tokens.close()
    finally:
        database_server.sql(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    assert [each.levelno for each in caplog.records if each.name == "pypiserver.access.token_uses"] == [logging.INFO]


def test_no_rebuild_of_the_catalog_touches_the_tokens(database: str, database_server: PostgreSQL) -> None:
    """They may share a database: the tables of the catalog are made, filled and dropped without them."""
    record, _ = made()
    store = TokenTableStore(database)
    put(store, record)
    name = database.rpartition("/")[2]
    catalog = Catalog(database, "sha256\n/packages")
    assert isinstance(catalog.connections, Pool)
    catalog.counts()
    catalog.connections.renew()
    catalog.close()
    tables = database_server.sql("SELECT string_agg(tablename, ',') FROM pg_tables WHERE schemaname = 'public'", name)
    dropped = [each for each in tables.split(",") if not each.startswith("api_token")]
    assert dropped
    database_server.sql(f"DROP TABLE {', '.join(dropped)}", name)
    assert [each.id for each in store.tokens()] == [record.id]
    Catalog(database, "sha256\n/packages").close()


def test_a_command_is_told_of_an_outage(decide: Callable[[TokenLines], list[TokenRecord]] = lambda tokens: []) -> None:
    with raises(Unavailable):
        TokenTableStore("postgresql://127.0.0.1:1/tokens").change(decide)
