"""The services themselves: they are real, they keep what a real one keeps, and they end with their block."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.clients.harness import get
from tests.cluster.buckets import ObjectStore, swift
from tests.cluster.services import PostgreSQL, haproxy, nginx, postgresql

NGINX = "events {{}} http {{ access_log off; server {{ listen 127.0.0.1:{port}; return 200 here; }} }}"
HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend web
  bind 127.0.0.1:{port}
  http-request return status 200 content-type text/plain string here
"""


def test_a_database_outlives_a_kill(database_server: PostgreSQL, database: str) -> None:
    name = database.rpartition("/")[2]
    database_server.sql("CREATE TABLE kept (word TEXT)", name)
    database_server.sql("INSERT INTO kept VALUES ('here')", name)
    database_server.kill()
    database_server.start()
    assert database_server.sql("SELECT word FROM kept", name) == "here"
    database_server.restart()
    assert database_server.sql("SELECT word FROM kept", name) == "here"


def test_a_database_server_ends_with_its_block() -> None:
    with postgresql(fsync=True) as server:
        assert server.sql("SHOW fsync") == "on"
        folder, pid = server.folder, server.pid
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("name", ["ceph_store", "swift_store"])
def test_a_bucket_outlives_its_gateway(name: str, request: pytest.FixtureRequest) -> None:
    store: ObjectStore = request.getfixturevalue(name)
    address = store.create("outlives")
    assert address == "s3://outlives"
    store.request("PUT", "/outlives/a%2Bb", data=b"bytes")
    store.gateway.kill()
    store.gateway.start()
    assert store.request("GET", "/outlives/a%2Bb") == b"bytes"
    store.request("DELETE", "/outlives/a%2Bb")
    with pytest.raises(HTTPError, match="404"):
        store.request("GET", "/outlives/a%2Bb")


def test_a_bucket_asks_for_a_signature(ceph_store: ObjectStore, bucket: str) -> None:
    with pytest.raises(HTTPError, match="403"):
        get(f"{ceph_store.endpoint}/{bucket.partition('://')[2]}")


@pytest.mark.parametrize(("front", "text"), [(nginx, NGINX), (haproxy, HAPROXY)], ids=["nginx", "haproxy"])
def test_a_front_answers_as_configured(front: object, text: str) -> None:
    def configure(folder: Path, port: int) -> str:
        return text.format(port=port)

    with front(configure) as proxy:  # type: ignore[operator]
        assert get(proxy.url) == b"here"
        proxy.restart()
        assert get(proxy.url) == b"here"


def test_swift_is_skipped_where_files_have_no_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError

    monkeypatch.setattr("os.setxattr", refuse)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="takes no user attributes"), swift():
        pass
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="must not do without it"), swift():
        pass
