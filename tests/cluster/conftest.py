"""Fixtures of the cluster tests; others may import them from `tests.cluster.fixtures`."""

from __future__ import annotations

from tests.cluster.fixtures import bucket, ceph_store, database, database_server, swift_store

__all__ = ["bucket", "ceph_store", "database", "database_server", "swift_store"]
