"""The faults of docs/explanation/failures.rst: one part fails while clients continue, and all heals by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.buckets import ObjectStore, ceph
from tests.cluster.drill import assert_nothing_is_lost, drilled
from tests.cluster.services import PostgreSQL, postgresql
from tests.cluster.stacks import Cluster, clustered
from tests.hostile import eventually, listed, sha256, upload, wheel


def replica_killed(cluster: Cluster) -> None:
    cluster.replicas[0].kill()
    time.sleep(2)
    cluster.replicas[0].start()


def every_replica_restarted(cluster: Cluster) -> None:
    for each in cluster.replicas:
        each.restart()


def database_down(cluster: Cluster) -> None:
    cluster.database.stop()
    time.sleep(10)
    cluster.database.start()


def database_killed(cluster: Cluster) -> None:
    cluster.database.kill()
    time.sleep(1)
    cluster.database.start()


def store_killed(cluster: Cluster) -> None:
    cluster.store.gateway.kill()
    time.sleep(3)
    cluster.store.gateway.start()


def front_killed(cluster: Cluster) -> None:
    cluster.front.kill()
    time.sleep(1)
    cluster.front.start()


FAULTS: dict[str, Callable[[Cluster], None]] = {
    "one replica is killed (-9)": replica_killed,
    "every replica is restarted": every_replica_restarted,
    "PostgreSQL is away for 10 s": database_down,
    "PostgreSQL is killed (-9)": database_killed,
    "the store is killed (-9), 3 s": store_killed,
    "nginx is killed (-9), 1 s": front_killed,
}


@pytest.fixture(scope="module")
def own_database() -> Iterator[PostgreSQL]:
    """A server that only these tests stop; it writes as one does that may be killed."""
    with postgresql(fsync=True) as server:
        yield server


@pytest.fixture(scope="module")
def own_store() -> Iterator[ObjectStore]:
    with ceph() as store:
        yield store


@pytest.mark.parametrize("fault", FAULTS)
def test_no_client_gives_up_and_nothing_acknowledged_is_lost(
    fault: str, own_store: ObjectStore, own_database: PostgreSQL, tmp_path: Path
) -> None:
    with clustered(tmp_path, own_store, own_database) as cluster:
        with drilled(cluster.url) as drill:
            time.sleep(1)
            FAULTS[fault](cluster)
            time.sleep(1)
        seen = drill.seen
        print(f"{fault}: {seen}")
        assert seen.given_up == []
        # It heals by itself, everywhere.
        name, data = wheel("afterwards")
        eventually(lambda: upload(cluster.url, name, data).status == 200, seconds=30)
        for url in cluster.urls:
            eventually(lambda url=url: listed(url, "afterwards") == {name: sha256(data)}, seconds=30)
        assert_nothing_is_lost(seen, cluster.urls)
