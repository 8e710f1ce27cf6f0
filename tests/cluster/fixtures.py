"""The services as fixtures: each is started once for a test run (and worker), and each test gets a part of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.cluster.buckets import ObjectStore, ceph, swift
from tests.cluster.services import PostgreSQL, postgresql


@pytest.fixture(scope="session")
def database_server() -> Iterator[PostgreSQL]:
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def ceph_store() -> Iterator[ObjectStore]:
    with ceph() as store:
        yield store


@pytest.fixture(scope="session")
def swift_store() -> Iterator[ObjectStore]:
    with swift() as store:
        yield store


@pytest.fixture
def database(database_server: PostgreSQL) -> str:
    """The address of an empty database, as `--catalog` takes it."""
    return database_server.create(f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def bucket(ceph_store: ObjectStore) -> str:
    """The address of an empty bucket of Ceph, as `--storage` takes it."""
    return ceph_store.create(f"test-{uuid.uuid4().hex[:12]}")
