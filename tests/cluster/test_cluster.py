"""Three replicas with PostgreSQL and a real object store behind nginx: what clients see while parts of it fail."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.buckets import ObjectStore
from tests.cluster.drill import downloaded, fetch, links
from tests.cluster.real_clients import working
from tests.cluster.services import PostgreSQL, postgresql
from tests.cluster.stacks import Cluster, clustered
from tests.hostile import ask, listed, sha256, upload, wheel

RIVALS = 200
OUTAGE_SECONDS = 10.0


@pytest.fixture
def own_database() -> Iterator[PostgreSQL]:
    """A server that only this test stops."""
    with postgresql() as server:
        yield server


@contextmanager
def with_demo(*stack: object, home: Path) -> Iterator[Cluster]:
    store, database, *arguments = stack
    with clustered(home, store, database, *arguments) as cluster:  # type: ignore[arg-type]
        name, data = wheel("demo", "1.0", filler=100_000)
        assert upload(cluster.url, name, data).status == 200
        yield cluster


def test_clients_get_through_while_everything_fails_once(
    ceph_store: ObjectStore, own_database: PostgreSQL, tmp_path: Path
) -> None:
    with with_demo(ceph_store, own_database, home=tmp_path) as cluster:
        first, second, _ = cluster.replicas
        with working(tmp_path / "clients", cluster.url) as runs:
            time.sleep(2)
            first.kill()
            time.sleep(2)
            first.start()
            second.restart()
            time.sleep(1)
            own_database.stop()
            time.sleep(OUTAGE_SECONDS)
            own_database.start()
            time.sleep(3)
        print(f"kill -9, restart, {OUTAGE_SECONDS:.0f} s without PostgreSQL: {runs}")
        for said in runs.failed.get("twine", []):
            print("twine said:", said.strip().splitlines()[-1])
        assert {name: said for name, said in runs.failed.items() if name != "twine"} == {}
        assert min(runs.good.values()) > 0
        # What was acknowledged is there, on each of them, and nothing else is there in part.
        for url in cluster.urls:
            shown = listed(url, "tide")
            assert {name: shown.get(name) for name in runs.acknowledged} == runs.acknowledged
            paths = links(url, "tide")
            for name, digest in shown.items():
                assert sha256(fetch(url, paths[name]).body) == digest, name


@pytest.mark.parametrize("kind", ["ceph_store", "swift_store"])
def test_of_200_uploads_of_one_name_at_most_one_wins(
    kind: str, database_server: PostgreSQL, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Swift lets several writers of one key win; the bytes' digest in the key, and the catalog, make up for it."""
    with clustered(tmp_path, request.getfixturevalue(kind), database_server) as cluster:
        rivals = [wheel("contested", "1.0", filler=1000 + number) for number in range(RIVALS)]
        urls = (cluster.urls * RIVALS)[:RIVALS]
        with ThreadPoolExecutor(24) as pool:
            replies = list(pool.map(upload, urls, *zip(*rivals, strict=True)))
        answers = [reply.status for reply in replies]
        winners = [rivals[at] for at, status in enumerate(answers) if status == 200]
        print(f"{kind}: { ({status: answers.count(status) for status in sorted(set(answers))}) }")
        assert len(winners) == 1, answers
        ((name, data),) = winners
        for url in cluster.urls:
            assert listed(url, "contested") == {name: sha256(data)}
            assert downloaded(url, "contested", name).body == data


def test_what_one_replica_acknowledged_the_next_request_to_another_shows(
    ceph_store: ObjectStore, database_server: PostgreSQL, tmp_path: Path
) -> None:
    with clustered(tmp_path, ceph_store, database_server) as cluster:
        seen = []
        for number in range(20):
            name, data = wheel("seen", f"{number}.0")
            assert upload(cluster.urls[number % 3], name, data).status == 200
            seen += [listed(url, "seen").get(name) == sha256(data) for url in cluster.urls]
        assert seen == [True] * 60
        body = b":action=remove_pkg&name=seen&version=0.0"
        kind = "application/x-www-form-urlencoded"
        assert ask(cluster.urls[0], "/", method="POST", body=body, Content_Type=kind).status == 200
        for url in cluster.urls:
            assert "seen-0.0-py3-none-any.whl" not in listed(url, "seen")


@pytest.mark.parametrize("way", ["redirect", "stream", "accel"])
def test_a_file_comes_whole_and_in_parts_each_way(
    way: str, ceph_store: ObjectStore, database_server: PostgreSQL, tmp_path: Path
) -> None:
    name, data = wheel("sent", "1.0", filler=3_000_000)
    with clustered(tmp_path, ceph_store, database_server, "--downloads", way) as cluster:
        assert upload(cluster.url, name, data).status == 200
        path = links(cluster.url, "sent")[name]
        for _ in range(2):
            assert fetch(cluster.url, path).body == data
        part = fetch(cluster.url, path, Range="bytes=100000-199999")
        assert (part.status, part.body) == (206, data[100_000:200_000])
        head = ask(cluster.url, path, method="HEAD")
        assert (head.status, head.headers["content-length"], head.body) == (200, str(len(data)), b"")
        # A password is for us, and not for the store, which refuses signed addresses that come with one.
        assert fetch(cluster.url, path, Authorization="Basic YTpi").body == data


def test_nginx_keeps_what_it_fetched_from_the_store(
    ceph_store: ObjectStore, database_server: PostgreSQL, tmp_path: Path
) -> None:
    name, data = wheel("kept", "1.0", filler=500_000)
    with clustered(tmp_path, ceph_store, database_server, "--downloads", "accel") as cluster:
        assert upload(cluster.url, name, data).status == 200
        path = links(cluster.url, "kept")[name]
        assert fetch(cluster.url, path).body == data
        cluster.store.gateway.kill()
        try:
            # Another replica signs another address; it is the same file.
            for _ in range(6):
                assert fetch(cluster.url, path).body == data
            part = fetch(cluster.url, path, Range="bytes=-10")
            assert (part.status, part.body) == (206, data[-10:])
        finally:
            cluster.store.gateway.start()
