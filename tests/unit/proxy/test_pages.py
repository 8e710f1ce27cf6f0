"""Freshness, outages and memory of pages of other indexes, against indexes in memory."""

from __future__ import annotations

import itertools
import random
import threading
from dataclasses import replace
from typing import Any

import pytest

from pypiserver.access.patterns import Patterns
from pypiserver.deferred import Postponed
from pypiserver.distributions.filename import normalize
from pypiserver.errors import NotFound, Unavailable
from pypiserver.proxy import flights
from pypiserver.proxy.budget import Budget
from pypiserver.proxy.flights import Waiting
from pypiserver.proxy.page_memory import Found
from pypiserver.proxy.pages import Pages
from pypiserver.proxy.source import NotAnswered, Source
from pypiserver.upstream.values import Upstream

from .indexes import Index, World

RAVEN = normalize("raven")
ONE, TWO = "raven-1.0-py3-none-any.whl", "raven-2.0-py3-none-any.whl"


def world(*indexes: Index, **settings: Any) -> World:
    return World(indexes or (Index(projects={"raven": [ONE]}),), settings=settings)


def names(found: Found) -> list[str]:
    return [file.filename for file in found.kept.page.files]


def test_a_page_is_asked_for_once_while_it_is_fresh() -> None:
    here = world()
    pages = here.pages()
    assert names(pages.get(RAVEN)) == [ONE]
    assert pages.get(RAVEN).forwarded == ""
    here.clock.pass_by(599)
    assert names(pages.get(RAVEN)) == [ONE]
    assert here.indexes[0].asked == ["raven"]


def test_then_it_is_asked_for_by_its_validator() -> None:
    here = world()
    pages = here.pages()
    pages.get(RAVEN)
    here.clock.pass_by(601)
    found = pages.get(RAVEN)
    assert (names(found), found.age, found.forwarded) == ([ONE], None, "stale")
    assert here.indexes[0].conditional == 1
    here.indexes[0].projects["raven"].append(TWO)
    here.clock.pass_by(601)
    assert names(pages.get(RAVEN)) == [ONE, TWO]


@pytest.mark.parametrize(("told", "fresh"), [(60, 60), (6000, 600), (0, 3)])
def test_the_index_can_shorten_how_long_its_page_is_fresh(told: int, fresh: int) -> None:
    here = world(Index(projects={"raven": [ONE]}, headers={"cache-control": f"max-age={told}"}))
    pages = here.pages()
    pages.get(RAVEN)
    here.clock.pass_by(fresh - 1)
    pages.get(RAVEN)
    assert len(here.indexes[0].asked) == 1
    here.clock.pass_by(2)
    pages.get(RAVEN)
    assert len(here.indexes[0].asked) == 2


def test_not_found_is_remembered_for_a_minute() -> None:
    here = world()
    pages = here.pages()
    for _ in range(3):
        with pytest.raises(NotFound):
            pages.get(normalize("crow"))
    assert here.indexes[0].asked == ["crow"]
    here.clock.pass_by(61)
    here.indexes[0].projects["crow"] = ["crow-1.0.tar.gz"]
    assert names(pages.get(normalize("crow"))) == ["crow-1.0.tar.gz"]


@pytest.mark.parametrize("trouble", ["down", "timeout", "500", "403", "429", "nonsense"])
def test_an_old_page_is_given_while_its_index_fails(trouble: str) -> None:
    here = world()
    pages = here.pages()
    pages.get(RAVEN)
    here.clock.pass_by(100_000)
    here.indexes[0].trouble = trouble
    found = pages.get(RAVEN)
    assert (names(found), found.age) == ([ONE], 100_000)
    assert found.detail.startswith("upstream-")
    # After a restart too.
    found = here.pages().get(RAVEN)
    assert (names(found), found.age) == ([ONE], 100_000)


@pytest.mark.parametrize("trouble", ["down", "timeout", "500", "403", "429", "nonsense"])
def test_without_a_page_a_failure_is_never_not_found(trouble: str) -> None:
    here = world(Index(trouble=trouble))
    with pytest.raises(NotAnswered) as caught:
        here.pages().get(RAVEN)
    assert 1 <= caught.value.retry_after <= 10


def test_an_index_that_is_down_is_asked_after_10_20_and_then_every_120_seconds() -> None:
    here = world(Index(trouble="down"))
    pages, asked = here.pages(), []
    for _ in range(600):
        for name in ("raven", "crow"):
            with pytest.raises(Unavailable):
                pages.get(normalize(name))
        asked.append(len(here.indexes[0].asked))
        here.clock.pass_by(1)
    times = [second for second, (before, now) in enumerate(itertools.pairwise([0, *asked])) if now > before]
    assert times == [0, 10, 30, 70, 150, 270, 390, 510]


def test_it_is_asked_at_once_when_it_is_back() -> None:
    here = world(Index(trouble="down", projects={"raven": [ONE], "crow": ["crow-1.0.tar.gz"]}))
    pages = here.pages()
    with pytest.raises(Unavailable):
        pages.get(RAVEN)
    here.indexes[0].trouble = ""
    here.clock.pass_by(11)
    assert names(pages.get(RAVEN)) == [ONE]
    assert names(pages.get(normalize("crow"))) == ["crow-1.0.tar.gz"]


def test_one_page_that_fails_does_not_switch_the_index_off() -> None:
    here = world(Index(trouble="500"))
    pages = here.pages()
    for _ in range(5):
        with pytest.raises(Unavailable):
            pages.get(RAVEN)
    assert here.indexes[0].asked == ["raven"]
    here.indexes[0].trouble = ""
    here.indexes[0].projects["crow"] = ["crow-1.0.tar.gz"]
    assert names(pages.get(normalize("crow"))) == ["crow-1.0.tar.gz"]


def test_a_limit_is_obeyed_within_bounds() -> None:
    here = world(Index(trouble="429", headers={"retry-after": "300"}))
    pages = here.pages()
    with pytest.raises(Unavailable):
        pages.get(RAVEN)
    here.clock.pass_by(299)
    with pytest.raises(Unavailable):
        pages.get(RAVEN)
    assert len(here.indexes[0].asked) == 1
    here.indexes[0].headers["retry-after"] = "100000000"
    here.clock.pass_by(2)
    with pytest.raises(Unavailable):
        pages.get(RAVEN)
    here.clock.pass_by(601)
    with pytest.raises(Unavailable):
        pages.get(RAVEN)
    assert len(here.indexes[0].asked) == 3


# Several indexes.


def test_the_first_that_has_the_project_answers_alone() -> None:
    first, second = Index("a", {"raven": [ONE]}), Index("b", {"raven": [TWO], "crow": ["crow-1.0.tar.gz"]})
    here = world(first, second)
    pages = here.pages()
    assert (names(pages.get(RAVEN)), second.asked) == ([ONE], [])
    assert pages.get(normalize("crow")).upstream.name == "b"
    assert first.asked == ["raven", "crow"]


def test_each_is_asked_for_its_own_projects_only() -> None:
    here = world(Index("a", {"raven": [ONE]}, patterns=Patterns(("torch*",))), Index("b", {"raven": [TWO]}))
    pages = here.pages()
    assert names(pages.get(RAVEN)) == [TWO]
    with pytest.raises(NotFound):
        pages.get(normalize("torch"))
    assert (here.indexes[0].asked, here.indexes[1].asked) == (["torch"], ["raven", "torch"])


@pytest.mark.parametrize("trouble", ["down", "500", "nonsense"])
def test_an_index_that_fails_is_never_skipped(trouble: str) -> None:
    here = world(Index("a", {"raven": [ONE]}, trouble=trouble), Index("b", {"raven": [TWO]}))
    pages = here.pages()
    with pytest.raises(Unavailable):
        pages.get(RAVEN)
    here.indexes[0].trouble = ""
    here.clock.pass_by(200)
    assert names(pages.get(RAVEN)) == [ONE]
    here.indexes[0].trouble = trouble
    here.clock.pass_by(5000)
    assert names(pages.get(RAVEN)) == [ONE]
    assert here.indexes[1].asked == []


def test_the_last_page_of_a_later_index_is_given_while_an_earlier_one_fails() -> None:
    here = world(Index("a"), Index("b", {"raven": [TWO]}))
    pages = here.pages()
    assert names(pages.get(RAVEN)) == [TWO]
    here.indexes[0].trouble = "down"
    here.clock.pass_by(5000)
    found = pages.get(RAVEN)
    assert (names(found), found.age) == ([TWO], 5000)
    assert names(here.pages().get(RAVEN)) == [TWO]
    # The later one was not asked: its answer would count for nothing.
    assert here.indexes[1].asked == ["raven"]


def test_an_older_page_of_a_later_index_is_not_given_once_an_earlier_one_had_the_project() -> None:
    here = world(Index("a"), Index("b", {"raven": [TWO]}))
    pages = here.pages()
    assert names(pages.get(RAVEN)) == [TWO]
    here.indexes[0].projects["raven"] = [ONE]
    here.clock.pass_by(5000)
    assert names(pages.get(RAVEN)) == [ONE]
    # The page of the first is lost, and the index fails.
    del here.store.kept["a", "raven"]
    here.indexes[0].trouble = "down"
    with pytest.raises(Unavailable):
        here.pages().get(RAVEN)


def test_a_page_from_before_an_index_was_added_is_not_given_while_that_one_fails() -> None:
    here = world(Index("b", {"raven": [TWO]}))
    here.pages().get(RAVEN)
    here.indexes = (Index("a", trouble="down"), *here.indexes)
    here.clock.pass_by(5000)
    with pytest.raises(Unavailable):
        here.pages().get(RAVEN)


def test_a_project_that_leaves_the_first_index_comes_from_the_next() -> None:
    here = world(Index("a", {"raven": [ONE]}), Index("b", {"raven": [TWO]}))
    pages = here.pages()
    pages.get(RAVEN)
    del here.indexes[0].projects["raven"]
    here.clock.pass_by(601)
    assert names(pages.get(RAVEN)) == [TWO]
    kept = pages.last(RAVEN, "a")
    assert kept is not None
    assert (kept.is_gone, [file.filename for file in kept.former]) == (True, [ONE])


# What is kept.


def test_a_restart_asks_nothing_while_the_page_is_fresh() -> None:
    here = world()
    here.pages().get(RAVEN)
    here.clock.pass_by(300)
    assert names(here.pages().get(RAVEN)) == [ONE]
    here.clock.pass_by(301)
    assert here.pages().get(RAVEN).forwarded == "stale"
    assert (len(here.indexes[0].asked), here.indexes[0].conditional) == (2, 1)


def test_a_page_from_the_future_is_not_fresh() -> None:
    here = world()
    here.pages().get(RAVEN)
    here.clock.pass_by(-50)
    pages = here.pages()
    assert pages.get(RAVEN).forwarded == "stale"
    here.clock.pass_by(601)
    assert pages.get(RAVEN).forwarded == "stale"


def test_files_are_seen_first_when_the_first_page_had_them() -> None:
    here = world()
    pages = here.pages()
    (first,) = pages.get(RAVEN).kept.page.files
    here.clock.pass_by(601)
    here.indexes[0].projects["raven"] = [TWO, ONE]
    seen = {file.filename: file.first_seen_ns for file in pages.get(RAVEN).kept.page.files}
    assert seen[ONE] == first.first_seen_ns
    assert seen[TWO] == first.first_seen_ns + 601 * 10**9
    here.clock.pass_by(601)
    here.indexes[0].projects["raven"] = [TWO]
    pages.get(RAVEN)
    here.clock.pass_by(601)
    here.indexes[0].projects["raven"] = [TWO, ONE]
    assert {file.filename: file.first_seen_ns for file in here.pages().get(RAVEN).kept.page.files} == seen


def test_a_page_that_stays_the_same_is_written_at_most_once_an_hour() -> None:
    here = world(Index(projects={"raven": [ONE]}, has_validators=False))
    pages = here.pages()
    for _ in range(5):
        pages.get(RAVEN)
        here.clock.pass_by(601)
    assert here.store.writes == 1
    here.clock.pass_by(3600)
    pages.get(RAVEN)
    assert here.store.writes == 2


def test_pages_are_given_while_nothing_can_be_kept() -> None:
    here = world()
    here.store.is_full = True
    pages = here.pages()
    assert names(pages.get(RAVEN)) == [ONE]
    here.clock.pass_by(601)
    here.indexes[0].trouble = "down"
    assert names(pages.get(RAVEN)) == [ONE]


def test_a_damaged_page_counts_as_not_kept() -> None:
    here = world()
    here.pages().get(RAVEN)
    here.store.kept["up", "raven"] = here.store.kept["up", "raven"][:-40]
    assert here.pages().get(RAVEN).forwarded == "miss"
    here.store.kept["up", "raven"] = here.store.kept["up", "raven"][:-40]
    here.indexes[0].trouble = "down"
    with pytest.raises(Unavailable):
        here.pages().get(RAVEN)


def test_another_address_is_not_asked_with_the_validators_of_the_old_one() -> None:
    here = world()
    here.pages().get(RAVEN)
    here.indexes = (Moved("up", {"raven": [ONE]}),)
    here.clock.pass_by(601)
    here.pages().get(RAVEN)
    assert (here.indexes[0].asked, here.indexes[0].conditional) == (["raven"], 0)


class Moved(Index):
    """The index of the same name at another address."""

    @property
    def upstream(self) -> Upstream:
        return replace(super().upstream, url="https://other.example/simple/")


# Requests that want a page checked now, and servers that ask no index.


def test_no_cache_asks_at_once_but_not_twice_in_a_moment() -> None:
    here = world()
    pages = here.pages()
    pages.get(RAVEN)
    here.clock.pass_by(10)
    assert pages.get(RAVEN, revalidate=True).forwarded == "request"
    here.clock.pass_by(1)
    assert pages.get(RAVEN, revalidate=True).forwarded == ""
    for _ in range(5):
        with pytest.raises(NotFound):
            pages.get(normalize("crow"), revalidate=True)
    assert here.indexes[0].asked == ["raven", "raven", "crow"]
    here.clock.pass_by(4)
    with pytest.raises(NotFound):
        pages.get(normalize("crow"), revalidate=True)
    assert here.indexes[0].asked == ["raven", "raven", "crow", "crow"]


def test_offline_no_index_is_asked() -> None:
    here = world()
    here.pages().get(RAVEN)
    here.clock.pass_by(100_000)
    here.settings["offline"] = True
    pages = here.pages()
    for revalidate in (False, True):
        found = pages.get(RAVEN, revalidate=revalidate)
        assert (names(found), found.age, found.detail) == ([ONE], 100_000, "offline")
    with pytest.raises(Unavailable) as caught:
        pages.get(normalize("crow"))
    assert not caught.value.is_passing
    assert here.indexes[0].asked == ["raven"]


# Many requests.


def many(pages: Pages, count: int, name: str = "raven") -> list[object]:
    """What this many requests at once get."""
    got: list[object] = []

    def ask() -> None:
        try:
            got.append(names(pages.get(normalize(name))))
        except Unavailable as error:
            got.append(error.kind)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_one_request_asks_for_all() -> None:
    here = world(Index(projects={"raven": [ONE]}, gate=threading.Event()), waiting=50)
    gate = here.indexes[0].gate
    assert gate is not None
    pages, got = here.pages(), []
    thread = threading.Thread(target=lambda: got.extend(many(pages, 20)))
    thread.start()
    while pages._flights._places > 30:
        threading.Event().wait(0.001)
    gate.set()
    thread.join()
    assert (got, here.indexes[0].asked) == ([[ONE]] * 20, ["raven"])


def test_a_limited_number_waits_and_the_rest_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "MOMENT_SECONDS", 0.0)
    here = world(Index(projects={"raven": [ONE]}, gate=threading.Event()), waiting=3)
    gate = here.indexes[0].gate
    assert gate is not None
    pages, got = here.pages(), []
    thread = threading.Thread(target=lambda: got.extend(many(pages, 3)))
    thread.start()
    assert here.indexes[0].entered.wait(10)
    while pages._flights._places:
        threading.Event().wait(0.001)
    with pytest.raises(Unavailable) as caught:
        pages.get(RAVEN)
    assert caught.value.kind == "upstream-slow"
    gate.set()
    thread.join()
    assert got == [[ONE]] * 3


def test_an_old_page_is_given_after_a_moment_while_its_index_is_slow() -> None:
    here = world(patience=0.01)
    pages = here.pages()
    pages.get(RAVEN)
    here.clock.pass_by(601)
    index = here.indexes[0]
    index.gate = threading.Event()
    index.projects["raven"].append(TWO)
    found = pages.get(RAVEN)
    assert (names(found), found.age, found.detail) == ([ONE], 601, "upstream-slow")
    index.gate.set()
    pages.close()
    found = pages.get(RAVEN)
    assert (names(found), found.age) == ([ONE, TWO], None)
    assert index.asked == ["raven", "raven"]


def test_a_question_that_fails_unexpectedly_ends_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    here = world()
    pages = here.pages()

    def broken(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Source, "ask", broken)
    with pytest.raises(Unavailable):
        pages.get(RAVEN)
    assert pages._flights.is_idle()
    monkeypatch.undo()
    pages.get(RAVEN)
    here.clock.pass_by(601)
    monkeypatch.setattr(Source, "ask", broken)
    assert (names(pages.get(RAVEN)), pages.get(RAVEN).age) == ([ONE], 601)


def test_a_request_that_is_postponed_holds_no_thread_and_gets_the_same() -> None:
    here = world(Index(projects={"raven": [ONE]}, gate=threading.Event()), waiting=0)
    gate = here.indexes[0].gate
    assert gate is not None
    pages = here.pages()
    with pytest.raises(Postponed) as caught:
        pages.get(RAVEN, waiting=Waiting(postpones=True))
    flight, told = caught.value.under_way, threading.Event()
    flight.when_ready(told.set)
    assert not told.is_set()
    gate.set()
    assert told.wait(20)
    found = pages.get(RAVEN, waiting=Waiting(postpones=True, resumed=flight))
    assert (names(found), found.forwarded, here.indexes[0].asked) == ([ONE], "miss", ["raven"])


def test_a_postponed_request_that_waited_too_long_gets_the_last_page_or_is_told() -> None:
    here = world(patience=5.0)
    index, pages = here.indexes[0], here.pages()
    pages.get(RAVEN)
    here.clock.pass_by(601)
    index.gate = threading.Event()
    for name in ("raven", "crow"):
        with pytest.raises(Postponed) as caught:
            pages.get(normalize(name), waiting=Waiting(postpones=True))
        assert caught.value.seconds == (5.0 if name == "raven" else 90.0)
        again = Waiting(postpones=True, resumed=caught.value.under_way)
        if name == "raven":
            assert pages.get(RAVEN, waiting=again).detail == "upstream-slow"
        else:
            with pytest.raises(Unavailable):
                pages.get(normalize(name), waiting=again)
    index.gate.set()
    pages.close()


# Whatever happens.


@pytest.mark.parametrize("seed", range(60))
def test_no_outage_turns_a_kept_page_into_not_found(seed: int) -> None:
    """Any interleaving of states, times, restarts and requests, with two indexes."""
    dice = random.Random(seed)
    here = world(Index("a"), Index("b"), again=0.0)
    pages = here.pages()
    found: Found | None = None
    for _ in range(120):
        index = dice.choice(here.indexes)
        change = dice.randrange(6)
        if change == 0:
            index.trouble = dice.choice(["", "", "", "down", "timeout", "500", "429", "nonsense", "403"])
        elif change == 1:
            index.projects["raven"] = dice.choice([[ONE], [TWO], [ONE, TWO]])
        elif change == 2:
            index.projects.pop("raven", None)
        elif change == 3:
            pages = here.pages()
        here.clock.pass_by(dice.choice([0, 1, 59, 61, 599, 601, 5000]))
        for each in here.indexes:
            each.asked.clear()
        try:
            found = pages.get(RAVEN, revalidate=dice.random() < 0.2)
        except NotFound:
            assert [each.said["raven"] for each in here.indexes] == [False, False], "each said so, and last"
            found = None
        except Unavailable:
            assert any(each.trouble or not each.asked for each in here.indexes)
            assert found is None or found.upstream.name == "b" or not here.indexes[0].said["raven"], "it was kept"
        else:
            first, second = here.indexes
            if found.upstream is not first.upstream and found.upstream.name == "b":
                assert not first.said["raven"], "the later index counts only after the earlier one said no"
            else:
                assert second.asked == []
            if found.age is None and found.forwarded:
                assert names(found) == here.indexes[found.upstream.name == "b"].projects["raven"]


def test_the_pages_that_arrive_at_once_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.proxy.source.BODIES_BYTES", 20)
    here = world()
    with pytest.raises(NotAnswered) as caught:
        here.pages().get(RAVEN)
    assert caught.value.detail == "upstream-invalid"
    budget = Budget(20)
    with budget.lent() as first, budget.lent() as second:
        assert first.has(15)
        assert second.has(5)
        assert not second.has(6)
    with budget.lent() as third:
        assert third.has(20)


@pytest.mark.parametrize("trouble", ["403", "400", "401", "418", "nonsense"])
def test_names_that_an_index_answers_with_a_refusal_do_not_switch_it_off(trouble: str) -> None:
    """Many answer 403 for names that they do not have; with some of those a client could keep all others waiting."""
    here = world(Index(projects={"raven": [ONE]}, trouble=trouble))
    pages = here.pages()
    for name in ("a", "b", "c", "d", "e"):
        with pytest.raises(NotAnswered):
            pages.get(normalize(name))
    here.indexes[0].trouble = ""
    assert names(pages.get(RAVEN)) == [ONE]


def test_a_request_never_asks_in_its_own_thread() -> None:
    """Not even a later index while an earlier one, which does not have the project, is down."""
    here = world(Index("a"), Index("b", {"raven": [ONE]}), waiting=0, fresh=10.0)
    pages, (first, second) = here.pages(), here.indexes
    settle(pages, "raven")
    first.trouble = "down"
    here.clock.pass_by(5)
    settle(pages, "crow")
    here.clock.pass_by(6)
    second.gate = threading.Event()
    with pytest.raises(Postponed) as caught:
        pages.get(RAVEN, waiting=Waiting(postpones=True))
    second.gate.set()
    flight: Any = caught.value.under_way
    assert flight.wait(20)
    assert names(pages.get(RAVEN)) == [ONE]


def settle(pages: Pages, name: str) -> None:
    """Ask, and wait for the answer, whatever it is."""
    try:
        pages.get(normalize(name), waiting=Waiting(postpones=True))
    except Postponed as postponed:
        flight: Any = postponed.under_way
        assert flight.wait(20)
    except Unavailable:
        pass
