"""Several servers over one folder with one catalog in PostgreSQL: what one changes the others show, outages pass by."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pypiserver.catalog import Catalog, CatalogError
from pypiserver.catalog.postgres import pool as postgres
from pypiserver.catalog.postgres.leader_lock import PostgresLeaderLock
from pypiserver.catalog.postgres.pool import Pool
from pypiserver.errors import ConfigError, Unavailable
from pypiserver.factory.application import Application
from tests.make_archives import make_wheel
from tests.raising import raises

from ..wsgi import Answer, Client

if TYPE_CHECKING:
    from tests.cluster.services import PostgreSQL
if sys.platform == "win32":
    pytest.skip("there is no user to start PostgreSQL as", allow_module_level=True)

Serve = Callable[..., Client]
NAME, BYTES = make_wheel("foo", "1.0")
OTHER_NAME, OTHER_BYTES = make_wheel("bar", "1.0")
# Pages of every kind, for clients and for people.
SEEN = (
    "/packages/",
    "/simple/",
    "/simple/foo/",
    "/pypi/foo/json",
    "/pypi/foo/1.0/json",
    "/foo/json",
    "/projects/",
    "/projects/?sort=-date&page=1",
    "/project/foo/",
    "/project/foo/1.0/",
)


def eventually(question: Callable[[], bool], seconds: float = 60.0) -> bool:
    until = time.monotonic() + seconds
    while not question():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def application(client: Client) -> Application:
    made = client._application
    assert isinstance(made, Application)
    return made


def lease(client: Client) -> PostgresLeaderLock:
    lock = application(client).backend.indexer._lock
    assert isinstance(lock, PostgresLeaderLock)
    return lock


def age(answer: Answer) -> str | None:
    return answer.headers.get("age")


@pytest.fixture
def leases(database: str) -> Iterator[list[PostgresLeaderLock]]:
    pools = [Pool(database, "roots") for _ in range(2)]
    leases = [PostgresLeaderLock(pool) for pool in pools]
    yield leases
    for each, pool in zip(leases, pools, strict=True):
        each.release()
        pool.close()


def test_one_of_two_holds_the_lease_and_says_how_far_it_is(leases: list[PostgresLeaderLock]) -> None:
    one, two = leases
    assert [one.acquire(), one.acquire(), two.acquire()] == [True, True, False]
    assert [each.is_held() for each in leases] == [True, False]
    assert (two.is_ready(), two.outage(), two.last_scan()) == (False, "", None)
    one.say_outage("the folder is gone")
    assert (two.is_ready(), two.outage()) == (False, "the folder is gone")
    began = time.time() - 100
    one.say_ready(began)
    scan = two.last_scan()
    assert two.is_ready() and scan is not None and abs(scan[0] - began) < 5 and 99 < scan[1] < 200
    two.say_outage("this one has nothing to say")
    assert two.is_ready()


def test_the_heartbeat_of_a_lease_is_touched_by_rounds_and_not_by_holding_it(
    leases: list[PostgresLeaderLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypiserver.catalog.postgres.leader_lock.ALIVE_SECONDS", 0.5)
    monkeypatch.setattr("pypiserver.catalog.postgres.leader_lock.HEARTBEAT_SECONDS", 0.0)
    one, two = leases
    one.acquire()
    one.say_ready(time.time())
    assert two.is_alive()
    time.sleep(0.6)
    assert one.acquire() and not two.is_alive()
    one.touch()
    assert two.is_alive() and two.is_ready() and two.last_scan() is not None


def test_a_lease_that_is_passed_on_is_left_to_others(leases: list[PostgresLeaderLock]) -> None:
    one, two = leases
    one.acquire()
    assert one.give_way(60.0) and not one.is_held()
    assert not one.acquire() and two.acquire()


def test_a_lease_continues_where_the_one_before_has_just_been(leases: list[PostgresLeaderLock]) -> None:
    one, two = leases
    one.acquire()
    one.say_ready(time.time())
    one.release()
    assert two.acquire() and two.was_ready_just_now()
    two.say_ready(time.time() - 60)
    two.release()
    assert one.acquire() and not one.was_ready_just_now() and not two.is_ready()


def test_a_holder_whose_session_ends_notices_and_another_takes_over(
    leases: list[PostgresLeaderLock], database: str, database_server: PostgreSQL
) -> None:
    one, two = leases
    one.acquire()
    database_server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        f"AND datname = '{database.rpartition('/')[2]}'"
    )
    assert eventually(lambda: _acquired(two))
    assert not _acquired(one) and not one.is_held()


def _acquired(each: PostgresLeaderLock) -> bool:
    try:
        return each.acquire()
    except CatalogError:
        return False


def test_what_is_uploaded_to_one_is_shown_by_the_other_at_once(serve: Serve, database: str) -> None:
    one, two = serve(catalog=database), serve(catalog=database)
    assert [each.get("/simple/foo/").status for each in (one, two)] == [302, 302]
    assert one.upload(NAME, BYTES).status == 200
    page = two.get("/simple/foo/")
    assert NAME in page.text and two.get("/simple/").text.count("<a ") == 1
    assert two.get(f"/packages/{NAME}").body == BYTES
    assert two.upload(NAME, make_wheel("foo", "1.0", summary="other")[1]).status == 409
    for number in range(5):
        name, content = make_wheel("foo", f"1.{number + 1}")
        assert (two, one)[number % 2].upload(name, content).status == 200
        assert name in (one, two)[number % 2].get("/simple/foo/").text


def test_who_is_told_that_a_file_is_there_finds_it_everywhere(
    serve: Serve, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pool, "believed", 1.0)
    monkeypatch.setattr(postgres, "SETTLED_SECONDS", 1.1)
    one, two, three = (serve(catalog=database) for _ in range(3))
    assert [each.get("/simple/foo/").status for each in (one, two, three)] == [302] * 3
    pool = application(one).backend.catalog.connections
    # As if it had been killed after the commit.
    monkeypatch.setattr(pool, "settle", lambda: None)
    two.get("/simple/")
    assert one.upload(NAME, BYTES).status == 200
    assert three.upload(NAME, BYTES).status == 200
    assert two.get("/simple/").text.count("<a ") == 1


def test_a_path_no_file_can_have_is_refused(serve: Serve, database: str, put: Callable[..., Path]) -> None:
    put(NAME, BYTES)
    client = serve(catalog=database)
    assert [client.get(path).status for path in (f"/packages/{NAME}\0", "/simple/foo\0/")] == [400, 400]


def test_one_scans_and_another_takes_over(serve: Serve, database: str, put: Callable[..., Path]) -> None:
    one, two = serve(catalog=database), serve(catalog=database)
    put(NAME, BYTES)
    assert eventually(lambda: one.get("/simple/foo/").status == 200)
    assert two.get("/simple/foo/").status == 200
    assert [lease(each).is_held() for each in (one, two)] == [True, False]
    application(one).close()
    put(OTHER_NAME, OTHER_BYTES)
    assert eventually(lambda: two.get("/simple/bar/").status == 200)
    # It found the file before it was its turn to scan.
    assert eventually(lease(two).is_held)


def test_other_folders_are_refused_with_a_sentence(serve: Serve, database: str, tmp_path: Path) -> None:
    assert serve(catalog=database).get("/simple/").status == 200
    (tmp_path / "others").mkdir()
    with raises(ConfigError, kind="other-folders", setting="catalog"):
        application(serve(catalog=database, roots=[tmp_path / "others"])).survey()


@pytest.fixture
def server(database_server: PostgreSQL) -> Iterator[PostgreSQL]:
    """A server that may be stopped."""
    from tests.cluster.services import postgresql

    with postgresql() as server:
        yield server
        if server.process is not None and server.process.poll() is not None:
            server.start()


def test_an_outage_is_bridged_with_what_is_known(serve: Serve, server: PostgreSQL, put: Callable[..., Path]) -> None:
    put(NAME, BYTES)
    put(OTHER_NAME, OTHER_BYTES)
    address = server.create("outage")
    one, two = serve(catalog=address), serve(catalog=address, stale_for=0)
    known = ("/simple/foo/", "/simple/", f"/packages/{NAME}")
    before = {path: one.get(path).body for path in known}
    assert [two.get(path).status for path in known] == [200] * 3
    tag = one.get("/simple/foo/").headers["etag"]
    server.stop()
    for path in known:
        answer = one.get(path)
        assert (answer.status, answer.body) == (200, before[path]), path
        assert two.get(path).status == 503
    stale = one.get("/simple/foo/")
    assert age(stale) is not None and stale.headers["cache-status"].startswith("pypiserver; hit; ttl=-")
    assert one.get("/simple/foo/", HTTP_IF_NONE_MATCH=tag).status == 304
    for answer in (one.get("/simple/bar/"), one.get("/simple/nothing/"), one.upload(*make_wheel("baz", "1.0"))):
        assert (answer.status, answer.headers["retry-after"]) == (503, "2"), answer.text
    assert (one.get("/health/live").status, one.get("/health/ready").status) == (200, 503)
    server.start()
    assert eventually(lambda: one.get("/simple/bar/").status == 200)
    assert eventually(lambda: age(one.get("/simple/foo/")) is None and two.get("/simple/foo/").status == 200)
    assert one.upload(*make_wheel("baz", "1.0")).status == 200
    assert two.get("/simple/baz/").status == 200 and one.get("/health/ready").status == 200


@pytest.mark.parametrize("private", [False, True], ids=["open", "protected"])
def test_every_page_that_was_seen_bridges_an_outage(
    private: bool, serve: Serve, server: PostgreSQL, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(NAME, BYTES)
    put(OTHER_NAME, OTHER_BYTES)
    settings = {"authenticate": ["list"], "auther": lambda user, password: True} if private else {}
    client = serve(catalog=server.create(f"pages-{private}"), **settings)

    def get(path: str, **environ: str) -> Answer:
        kind = "application/vnd.pypi.simple.v1+json" if path.startswith("/simple/") else "text/html"
        return client.get(path, **{"HTTP_ACCEPT": kind, "HTTP_AUTHORIZATION": "Basic YTpi", **environ})

    catalog = client._application.backend.catalog  # type: ignore[attr-defined]
    # What is read in the background meanwhile would make the pages others.
    assert get("/simple/").status == 200 and eventually(lambda: catalog.pending_count() == 0)
    before = {path: get(path) for path in (*SEEN, "/projects/?q=foo")}
    assert {answer.status for answer in before.values()} == {200}
    assert {age(answer) for answer in before.values()} == {None}
    server.stop()
    for path in SEEN:
        answer = get(path)
        assert (answer.status, answer.body) == (200, before[path].body), path
        assert age(answer) is not None and "catalog-unavailable" in answer.headers["cache-status"], path
        assert {*answer.headers} == {*before[path].headers, "age", "cache-status"}, path
    again = get("/pypi/foo/json", HTTP_IF_NONE_MATCH=before["/pypi/foo/json"].headers["etag"])
    assert (again.status, age(again) is not None) == (304, True)
    coding = get("/project/foo/", HTTP_ACCEPT_ENCODING="gzip").headers.get("content-encoding")
    assert coding == (None if private else "gzip"), "compressed or not, it is the same page"
    for unknown in ("/pypi/bar/json", "/pypi/foo/2.0/json", "/project/bar/", "/project/foo/2.0/", "/projects/?q=foo"):
        assert get(unknown).status == 503, unknown
    for path in ("/pypi/foo/json", "/project/foo/"):
        assert get(path, HTTP_HOST="elsewhere.example").status == 503, "it would name the other host"
    if private:
        assert client.get("/project/foo/", HTTP_ACCEPT="text/html").status == 401
    server.start()
    assert eventually(lambda: all(age(get(path)) is None for path in SEEN))
    server.stop()
    assert {get(path).status for path in SEEN} == {200}
    later = time.monotonic() + 301
    monkeypatch.setattr("pypiserver.index.read.time.monotonic", lambda: later)
    assert {get(path).status for path in SEEN} == {503}


def test_what_is_known_is_given_for_a_while_only(
    serve: Serve, server: PostgreSQL, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(NAME, BYTES)
    client = serve(catalog=server.create("short"), stale_for=60)
    assert client.get("/simple/foo/").status == client.get(f"/packages/{NAME}").status == 200
    server.stop()
    assert client.get("/simple/foo/").status == 200
    later = time.monotonic() + 61
    monkeypatch.setattr("pypiserver.index.read.time.monotonic", lambda: later)
    assert [client.get(path).status for path in ("/simple/foo/", f"/packages/{NAME}")] == [503, 503]


def test_after_a_restart_of_the_database_all_is_as_before(
    serve: Serve, server: PostgreSQL, put: Callable[..., Path]
) -> None:
    put(NAME, BYTES)
    client = serve(catalog=server.create("restart"))
    assert client.get("/simple/foo/").status == 200
    server.restart()
    assert eventually(lambda: client.get("/simple/bar/").status == 302)
    assert age(client.get("/simple/foo/")) is None


def test_no_acknowledged_upload_is_lost_with_the_database(serve: Serve, server: PostgreSQL) -> None:
    address = server.create("killed")
    clients = [serve(catalog=address) for _ in range(2)]
    wheels = [make_wheel(f"project{number}", "1.0") for number in range(24)]
    acknowledged: list[str] = []
    refused: list[int] = []

    def upload(client: Client, mine: list[tuple[str, bytes]]) -> None:
        for name, content in mine:
            answer = client.upload(name, content)
            if answer.status == 200:
                acknowledged.append(name)
            else:
                refused.append(answer.status)
            if name == wheels[6][0]:
                server.kill()

    threads = [threading.Thread(target=upload, args=(clients[at], wheels[at::2])) for at in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 4 <= len(acknowledged) < 24 and set(refused) == {503}
    server.start()
    for client in clients:
        assert eventually(lambda client=client: client.get("/health/ready").status == 200)
    for client in clients:
        for name in acknowledged:
            assert client.get(f"/packages/{name}").status == 200, name
    # What was refused may be stored all the same, and is the same then; so it is safe to try again.
    assert {clients[at % 2].upload(*wheel).status for at, wheel in enumerate(wheels)} == {200}
    assert all(clients[1].get(f"/packages/{name}").body == content for name, content in wheels)


def test_a_server_that_begins_without_its_database_says_so_and_waits_for_it(
    serve: Serve, server: PostgreSQL, put: Callable[..., Path]
) -> None:
    put(NAME, BYTES)
    address = server.create("late")
    server.stop()
    client = serve(catalog=address)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1.*refused"):
        application(client).survey()
    answer = client.get("/simple/foo/")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert "postgres@" not in answer.text
    server.start()
    assert eventually(lambda: client.get("/simple/foo/").status == 200)


def test_a_catalog_of_one_is_no_catalog_of_the_other_kind(database: str, tmp_path: Path) -> None:
    for place in (database, tmp_path / "catalog.sqlite"):
        catalog = Catalog(place, "roots")
        assert catalog.connections.is_disposable is not isinstance(catalog.connections, Pool)
