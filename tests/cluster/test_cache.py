"""A cache of another index that replicas share: files in Ceph, pages and rows in PostgreSQL."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from tests.cluster.buckets import ObjectStore
from tests.cluster.services import PostgreSQL
from tests.cluster.stacks import Cluster, clustered
from tests.fake_upstream import FakeUpstream, upstream
from tests.hostile import eventually
from tests.live_server import DIRECT

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
LARGE = 20 << 20


@pytest.fixture
def up() -> Iterator[FakeUpstream]:
    with upstream() as made:
        yield made


@pytest.fixture(params=["redirect", "stream"])
def cluster(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    ceph_store: ObjectStore,
    database_server: PostgreSQL,
    up: FakeUpstream,
) -> Iterator[Cluster]:
    asks = ("--fallback-mode", "cache", "--fallback-url", up.url, "--downloads", request.param)
    with clustered(tmp_path, ceph_store, database_server, *asks, count=2) as made:
        yield made


def get(url: str, **headers: str) -> bytes:
    """The body, of a redirect's target too."""
    with DIRECT.open(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return bytes(answer.read())


def broken_off(url: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        get(url)


def address(url: str, project: str) -> str:
    page = json.loads(get(f"{url}/simple/{project}/", **JSON))
    return urljoin(f"{url}/simple/{project}/", page["files"][0]["url"])


def status(url: str) -> int:
    """The status of a response, also of a redirect."""
    host = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(host.hostname or "", host.port, timeout=60)) as connection:
        connection.request("GET", host.path)
        return connection.getresponse().status


def test_what_one_replica_fetched_all_have(cluster: Cluster, up: FakeUpstream, request: pytest.FixtureRequest) -> None:
    file = up.add_wheel("raven", "1.0")
    ours, theirs = cluster.urls
    assert get(address(ours, "raven")) == file.data
    kept = 302 if request.node.callspec.params["cluster"] == "redirect" else 200
    eventually(lambda: status(address(theirs, "raven")) == kept)
    assert get(address(theirs, "raven")) == file.data
    assert get(address(theirs, "raven") + ".metadata").startswith(b"Metadata-Version")
    assert (up.count("/simple/raven/"), up.count("*.whl")) == (1, 1), "the page and the file were asked for once"
    up.stop()
    for replica in cluster.replicas:
        replica.kill()
        replica.start()
    for url in cluster.urls:
        assert get(address(url, "raven")) == file.data
    up.start()


def test_many_clients_of_all_replicas_cost_one_fetch(cluster: Cluster, up: FakeUpstream) -> None:
    file = up.add_wheel("raven", "1.0", size=LARGE)
    addresses = [address(url, "raven") for url in cluster.urls]
    seen: list[str] = []

    def fetch(url: str) -> None:
        seen.append(hashlib.sha256(get(url)).hexdigest())

    threads = [threading.Thread(target=fetch, args=(addresses[number % 2],)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [hashlib.sha256(file.data).hexdigest()] * 12
    assert up.count("*.whl") == 1
    up.forget()
    for url in addresses:
        assert hashlib.sha256(get(url)).hexdigest() == seen[0]
    assert up.count("*.whl") == 0


def test_a_fetch_that_takes_long_is_waited_for(cluster: Cluster, up: FakeUpstream) -> None:
    file = up.add_wheel("raven", "1.0", size=LARGE)
    first, second = (address(url, "raven") for url in cluster.urls)
    seen: list[str] = []

    def fetch(url: str) -> None:
        seen.append(hashlib.sha256(get(url)).hexdigest())

    with up.held("*.whl", after=LARGE // 2):
        threads = [threading.Thread(target=fetch, args=(first,))]
        threads[0].start()
        up.wait_for("*.whl")
        threads += [threading.Thread(target=fetch, args=(second,)) for _ in range(3)]
        for thread in threads[1:]:
            thread.start()
        # Longer than the other replica would be patient if it were not for the one that fetches.
        threads[1].join(4)
    for thread in threads:
        thread.join()
    assert seen == [hashlib.sha256(file.data).hexdigest()] * 4
    assert up.count("*.whl") == 1


def test_a_replica_that_dies_while_it_fetches_leaves_nothing_half(cluster: Cluster, up: FakeUpstream) -> None:
    file = up.add_wheel("raven", "1.0", size=LARGE)
    ours, theirs = cluster.replicas
    url = address(ours.url, "raven")
    with up.held("*.whl", after=LARGE // 2):
        thread = threading.Thread(target=broken_off, args=(url,))
        thread.start()
        up.wait_for("*.whl")
        ours.kill()
        thread.join()
    assert hashlib.sha256(get(address(theirs.url, "raven"))).hexdigest() == hashlib.sha256(file.data).hexdigest()
    ours.start()
    up.stop()
    assert hashlib.sha256(get(url)).hexdigest() == hashlib.sha256(file.data).hexdigest()
    up.start()
