"""Who sends a request: what is asked, how often, and what holds while the one who knows does not answer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.access import authentication, foreign_check, login_memory, password_file
from pypiserver.access.authentication import Authenticator, parse_basic
from pypiserver.access.foreign_check import ForeignCheck
from pypiserver.access.htpasswd_file import set_password
from pypiserver.access.password_file import HtpasswdFile
from pypiserver.access.principal import Principal
from pypiserver.errors import Unauthorized, Unavailable

from .credentials import basic

RIGHT, WRONG, OTHER = basic("joe:sesame"), basic("joe:wrong"), basic("ann:sesame")


@pytest.mark.parametrize(
    ("header", "credentials"),
    [
        (basic("joe:sesame"), ("joe", "sesame")),
        ("bASIC  " + basic("joe:a:b").partition(" ")[2], ("joe", "a:b")),
        (basic("joe:pä"), ("joe", "pä")),
        (basic("joe:pä".encode("latin-1")), ("joe", "pä")),
        (basic("__token__:"), ("__token__", "")),
    ],
)
def test_credentials_are_read(header: str, credentials: tuple[str, str]) -> None:
    assert parse_basic(header) == credentials


@given(st.one_of(st.text(max_size=60), st.text(max_size=40).map("Basic {}".format), st.binary(max_size=40).map(basic)))
def test_other_credentials_are_refused_and_nothing_else_happens(header: str) -> None:
    try:
        parse_basic(header)
    except Unauthorized:
        return


@dataclass
class Directory:
    """A directory of users whose password is sesame, and a clock; what is asked of it is counted."""

    now: float = 1000.0
    calls: list[tuple[str, str]] = field(default_factory=list)
    fault: BaseException | None = None
    answer: Callable[[str, str], object] = lambda user, password: password == "sesame"

    def __call__(self, user: str, password: str) -> object:
        self.calls.append((user, password))
        if self.fault is not None:
            raise self.fault
        return self.answer(user, password)

    def clock(self) -> float:
        return self.now

    def authenticator(
        self, file: HtpasswdFile | None = None, *, is_strict: bool = False, waiting: int = 32, **options: int
    ) -> Authenticator:
        check = ForeignCheck(self, "the directory", is_strict=is_strict, clock=self.clock, **options)
        return Authenticator(file, check, waiting=waiting, clock=self.clock)


def is_refused(authenticator: Authenticator, header: str) -> bool:
    try:
        authenticator.identify(header)
    except Unauthorized:
        return True
    return False


def test_ten_thousand_requests_of_a_user_in_a_minute_ask_twice_at_most() -> None:
    directory = Directory()
    authenticator = directory.authenticator()
    for _ in range(10_000):
        assert authenticator.identify(RIGHT) == Principal("joe")
        directory.now += 60 / 10_000
    assert len(directory.calls) <= 2


def test_a_right_login_is_asked_again_after_a_minute_a_wrong_one_after_five_seconds() -> None:
    directory = Directory()
    authenticator = directory.authenticator()
    for moment, asked in ((0.0, 1), (59.9, 1), (60.0, 2), (119.9, 2), (120.0, 3)):
        directory.now = 1000.0 + moment
        assert authenticator.identify(RIGHT).name == "joe"
        assert len(directory.calls) == asked
    directory.calls.clear()
    for moment, asked in ((0.0, 1), (4.9, 1), (5.0, 2), (9.9, 2), (10.0, 3)):
        directory.now = 2000.0 + moment
        assert is_refused(authenticator, WRONG)
        assert len(directory.calls) == asked


def test_a_login_that_became_wrong_is_forgotten() -> None:
    directory = Directory()
    authenticator = directory.authenticator()
    authenticator.identify(RIGHT)
    directory.answer, directory.now = lambda user, password: False, directory.now + 60
    assert is_refused(authenticator, RIGHT)
    directory.fault, directory.now = OSError("no route"), directory.now + 60
    with pytest.raises(Unavailable):
        authenticator.identify(RIGHT)


@pytest.mark.parametrize("fault", [OSError("no route"), ValueError("secret path"), SystemExit(3), KeyboardInterrupt()])
def test_a_check_that_fails_is_no_refusal_and_tells_clients_nothing(
    fault: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    directory = Directory(fault=fault)
    authenticator = directory.authenticator()
    for header in (RIGHT, WRONG, OTHER):
        with pytest.raises(Unavailable) as raised:
            authenticator.identify(header)
        assert (raised.value.kind, raised.value.public) == ("login", foreign_check.FAILED)
    assert len(directory.calls) == 3


def test_the_traceback_of_a_failure_is_logged_once_in_ten_minutes(caplog: pytest.LogCaptureFixture) -> None:
    directory = Directory(fault=OSError("no route"))
    authenticator = directory.authenticator()
    said = []
    for moment in (0.0, 1.0, 599.0, 600.0, 601.0):
        directory.now = 1000.0 + moment
        with pytest.raises(Unavailable):
            authenticator.identify(RIGHT)
        said.append(len(caplog.records))
    assert said == [1, 1, 1, 2, 2]
    assert "no route" in caplog.text and "Traceback" in caplog.text and "sesame" not in caplog.text


def test_who_was_right_in_the_last_five_minutes_stays_right_while_the_check_fails() -> None:
    directory = Directory()
    authenticator = directory.authenticator()
    authenticator.identify(RIGHT)
    directory.fault = OSError("no route")
    for moment in range(60, 300):
        directory.now = 1000.0 + moment
        assert authenticator.identify(RIGHT).name == "joe"
        with pytest.raises(Unavailable):
            authenticator.identify(OTHER)
    asked = directory.calls.count(("joe", "sesame"))
    # Every five seconds it is asked once whether it works again.
    assert asked == 1 + (300 - 60) / 5
    directory.now = 1300.0
    with pytest.raises(Unavailable):
        authenticator.identify(RIGHT)
    directory.fault = None
    assert authenticator.identify(RIGHT).name == "joe"


def test_a_wrong_password_is_no_login_of_who_was_right() -> None:
    directory = Directory()
    authenticator = directory.authenticator()
    authenticator.identify(RIGHT)
    directory.fault = OSError("no route")
    with pytest.raises(Unavailable):
        authenticator.identify(WRONG)


def test_no_check_gets_an_empty_password() -> None:
    """A directory takes it for an anonymous login, which is always right (RFC 4513 section 5.1.2)."""
    directory = Directory(answer=lambda user, password: True)
    for is_strict in (True, False):
        assert is_refused(directory.authenticator(is_strict=is_strict), basic("joe:"))
    assert is_refused(directory.authenticator(is_strict=True), basic(":sesame"))
    assert directory.calls == []


@pytest.mark.parametrize(
    ("answer", "is_strict", "principal"),
    [
        (True, True, Principal("joe")),
        (1, False, Principal("joe")),
        (Principal("Joe", frozenset({"staff"})), True, Principal("Joe", frozenset({"staff"}))),
        (Principal("Joe"), False, Principal("Joe")),
    ],
)
def test_answers_that_are_logins(answer: object, is_strict: bool, principal: Principal) -> None:
    directory = Directory(answer=lambda user, password: answer)
    assert directory.authenticator(is_strict=is_strict).identify(RIGHT) == principal


@pytest.mark.parametrize(("answer", "is_strict"), [(False, True), (None, True), (0, False), ("", False)])
def test_answers_that_are_refusals(answer: object, is_strict: bool) -> None:
    directory = Directory(answer=lambda user, password: answer)
    assert is_refused(directory.authenticator(is_strict=is_strict), RIGHT)


async def later(user: str, password: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("answer", "is_strict"),
    [
        (lambda: 1, True),
        (lambda: ("joe", ["staff"]), True),
        (lambda: Principal(None), True),
        (lambda: Principal(""), False),
        (lambda: Principal("a\nb"), True),
        (lambda: Principal("x" * 256), True),
        (lambda: later("joe", "sesame"), False),
        (lambda: later("joe", "sesame"), True),
    ],
)
def test_an_answer_that_is_none_is_a_failure_and_no_login(answer: Callable[[], object], is_strict: bool) -> None:
    directory = Directory(answer=lambda user, password: answer())
    with pytest.raises(Unavailable):
        directory.authenticator(is_strict=is_strict).identify(RIGHT)


def test_a_check_may_refuse_by_an_exception() -> None:
    directory = Directory(fault=Unauthorized("no"))
    assert is_refused(directory.authenticator(), RIGHT)


@contextlib.contextmanager
def held(directory: Directory) -> Iterator[threading.Event]:
    """Its answers come when the event is set, which it is at the end."""
    event = threading.Event()
    before = directory.answer

    def answer(user: str, password: str) -> object:
        assert event.wait(30)
        return before(user, password)

    directory.answer = answer
    try:
        yield event
    finally:
        directory.answer = before
        event.set()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@dataclass
class Crowd:
    """Requests at the same time; ``results`` are names, or the classes of what was raised."""

    authenticator: Authenticator
    results: list[object] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def send(self, *headers: str) -> None:
        for header in headers:
            self.threads.append(threading.Thread(target=self._ask, args=(header,)))
            self.threads[-1].start()

    def _ask(self, header: str) -> None:
        try:
            self.results.append(self.authenticator.identify(header).name)
        except (Unauthorized, Unavailable) as error:
            self.results.append(type(error))

    def end(self) -> list[object]:
        for thread in self.threads:
            thread.join(30)
        return self.results


def test_requests_with_one_header_cause_one_check() -> None:
    directory = Directory()
    crowd = Crowd(directory.authenticator())
    with held(directory) as event:
        crowd.send(*[RIGHT] * 20)
        until(lambda: len(directory.calls) == 1)
        event.set()
        assert crowd.end() == ["joe"] * 20
    assert len(directory.calls) == 1


def test_requests_that_share_a_failure_all_fail() -> None:
    def fail(user: str, password: str) -> bool:
        raise OSError("no route")

    directory = Directory(answer=fail)
    crowd = Crowd(directory.authenticator())
    with held(directory) as event:
        crowd.send(*[RIGHT] * 5)
        until(lambda: crowd.authenticator._waiting._value == 32 - 5)
        event.set()
        assert crowd.end() == [Unavailable] * 5
    assert len(directory.calls) == 1


def test_no_more_checks_run_at_once_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "WAIT_SECONDS", 0.05)
    directory = Directory()
    crowd = Crowd(directory.authenticator(at_once=2))
    with held(directory) as event:
        crowd.send(basic("a:sesame"), basic("b:sesame"))
        until(lambda: len(directory.calls) == 2)
        with pytest.raises(Unavailable) as raised:
            crowd.authenticator.identify(RIGHT)
        assert raised.value.public == password_file.BUSY
        event.set()
        assert sorted(map(str, crowd.end())) == ["a", "b"]
    assert crowd.authenticator.identify(RIGHT).name == "joe"


def test_who_waits_for_a_place_gets_it() -> None:
    directory = Directory()
    crowd = Crowd(directory.authenticator(at_once=1))
    with held(directory) as event:
        crowd.send(basic("a:sesame"))
        until(lambda: len(directory.calls) == 1)
        crowd.send(basic("b:sesame"))
        event.set()
        assert sorted(map(str, crowd.end())) == ["a", "b"]


def test_no_more_requests_wait_than_the_limit() -> None:
    """A waiting request holds a thread that open pages need."""
    directory = Directory()
    crowd = Crowd(directory.authenticator(waiting=3))
    with held(directory) as event:
        crowd.send(*[RIGHT] * 3)
        until(lambda: not crowd.authenticator._waiting._value)
        for header in (RIGHT, OTHER):
            with pytest.raises(Unavailable):
                crowd.authenticator.identify(header)
        event.set()
        assert crowd.end() == ["joe"] * 3


def test_a_known_user_is_asked_again_while_a_flood_of_others_waits() -> None:
    directory = Directory()
    authenticator = directory.authenticator(waiting=1)
    authenticator.identify(RIGHT)
    assert authenticator._waiting.acquire(blocking=False)
    directory.now += 60
    assert authenticator.identify(RIGHT).name == "joe"
    assert len(directory.calls) == 2


def test_a_check_that_hangs_holds_no_request_of_a_known_user(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(authentication, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(authentication, "CALL_SECONDS", 0.05)
    monkeypatch.setattr(authentication, "KNOWN_SECONDS", 0.01)
    directory = Directory()
    authenticator = directory.authenticator(at_once=1)
    authenticator.identify(RIGHT)
    with held(directory):
        directory.now += 60
        for _ in range(3):
            assert authenticator.identify(RIGHT).name == "joe"
        # The place is held by the check that hangs.
        with pytest.raises(Unavailable):
            authenticator.identify(OTHER)
        assert directory.calls == [("joe", "sesame")] * 2
    assert "does not answer" in caplog.text


def test_a_check_that_hung_leaves_its_place_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(authentication, "CALL_SECONDS", 0.05)
    directory = Directory()
    authenticator = directory.authenticator(at_once=1)
    hung = []
    with contextlib.ExitStack() as stack:
        for _ in range(foreign_check.HUNG_THREADS):
            hung.append(stack.enter_context(held(directory)))
            with pytest.raises(Unavailable):
                authenticator.identify(RIGHT)
            directory.now += foreign_check.HUNG_SECONDS
        asked = len(directory.calls)
        # There is an end to it.
        with pytest.raises(Unavailable):
            authenticator.identify(RIGHT)
        assert asked == len(directory.calls) == foreign_check.HUNG_THREADS
    monkeypatch.setattr(authentication, "WAIT_SECONDS", 5)
    monkeypatch.setattr(authentication, "CALL_SECONDS", 10)
    assert authenticator.identify(RIGHT).name == "joe"


def test_the_late_answer_of_a_check_that_hung_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "CALL_SECONDS", 0.05)
    directory = Directory()
    authenticator = directory.authenticator()
    with held(directory) as event:
        with pytest.raises(Unavailable):
            authenticator.identify(RIGHT)
        directory.now += foreign_check.HUNG_SECONDS
        directory.answer = lambda user, password: False
        monkeypatch.setattr(authentication, "CALL_SECONDS", 10)
        assert is_refused(authenticator, RIGHT)
        event.set()
        until(lambda: not any(thread.name == "pypiserver-login" for thread in threading.enumerate()))
        assert is_refused(authenticator, RIGHT)


def test_a_slow_answer_counts_for_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "CALL_SECONDS", 0.01)
    directory = Directory()
    authenticator = directory.authenticator()
    with held(directory) as event:
        with pytest.raises(Unavailable):
            authenticator.identify(RIGHT)
        event.set()
        until(lambda: not authenticator._flights)
    assert authenticator.identify(RIGHT).name == "joe"
    assert len(directory.calls) == 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.write_text("joe:local\n")
    path.chmod(0o600)
    return path


def test_users_of_the_file_are_checked_there_only(path: Path) -> None:
    directory = Directory()
    authenticator = directory.authenticator(HtpasswdFile(path))
    assert is_refused(authenticator, RIGHT)
    assert authenticator.identify(basic("joe:local")) == Principal("joe")
    assert authenticator.identify(OTHER) == Principal("ann")
    assert directory.calls == [("ann", "sesame")]


def test_a_user_who_gets_a_line_in_the_file_is_no_longer_asked_of_the_directory(path: Path) -> None:
    directory = Directory()
    authenticator = directory.authenticator(HtpasswdFile(path))
    authenticator.identify(OTHER)
    authenticator.identify(basic("bob:sesame"))
    path.write_text("joe:local\nann:local\n")
    assert is_refused(authenticator, OTHER)
    # Others lose nothing by it, not even while the directory fails.
    directory.fault, directory.now = OSError("no route"), directory.now + 60
    assert authenticator.identify(basic("bob:sesame")).name == "bob"
    assert is_refused(authenticator, OTHER)


def test_a_file_that_cannot_be_read_sends_no_password_to_the_directory(path: Path) -> None:
    directory = Directory()
    path.rename(path.with_name("elsewhere"))
    authenticator = directory.authenticator(HtpasswdFile(path, clock=directory.clock))
    with pytest.raises(Unavailable):
        authenticator.identify(basic("joe:local"))
    assert directory.calls == []


def test_no_more_requests_wait_for_the_file_than_the_limit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for their own checks nor for those of others: together they would hold every thread."""
    event = threading.Event()
    monkeypatch.setattr(password_file, "fits", lambda entry, password: event.wait(30) and password == "sesame")
    set_password(path, "joe", "sesame")
    crowd = Crowd(Authenticator(HtpasswdFile(path, slow_checks=4), waiting=3))
    crowd.send(basic("joe:a"), basic("joe:b"), basic("joe:b"))
    until(lambda: not crowd.authenticator._waiting._value)
    for header in (basic("joe:b"), basic("joe:c")):
        with pytest.raises(Unavailable):
            crowd.authenticator.identify(header)
    event.set()
    assert crowd.end() == [Unauthorized] * 3


def test_a_right_password_of_the_file_is_checked_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[str] = []
    real = password_file.fits
    monkeypatch.setattr(
        password_file, "fits", lambda entry, password: checks.append(password) is None and real(entry, password)
    )
    now = [0.0]
    authenticator = Authenticator(HtpasswdFile(path), clock=lambda: now[0])
    right, wrong = basic("joe:local"), basic("joe:wrong")
    for moment, expected in (
        (0.0, ["local", "wrong"]),
        (4.9, []),
        (5.1, ["wrong"]),
        (599.0, ["wrong"]),
        (601.0, ["local"]),
    ):
        now[0] = moment
        checks.clear()
        for _ in range(3):
            assert authenticator.identify(right).name == "joe"
            assert is_refused(authenticator, wrong)
        assert checks == expected, moment
    path.write_text("ann:local\n")
    assert is_refused(authenticator, right)


def test_a_password_that_becomes_right_counts_at_once(path: Path) -> None:
    authenticator = Authenticator(HtpasswdFile(path))
    assert is_refused(authenticator, RIGHT)
    path.write_text("joe:sesame\n")
    assert authenticator.identify(RIGHT).name == "joe"


def test_a_check_that_began_before_the_file_changed_is_shared_with_no_later_request(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()
    real = password_file.fits

    def slow(entry: object, password: str) -> bool:
        if not began.is_set():
            began.set()
            assert go_on.wait(20)
        return real(entry, password)  # type: ignore[arg-type]

    monkeypatch.setattr(password_file, "fits", slow)
    authenticator = Authenticator(HtpasswdFile(path))
    crowd = Crowd(authenticator)
    crowd.send(basic("joe:local"))
    assert began.wait(20)
    path.write_text("joe:other\n")
    try:
        assert is_refused(authenticator, basic("joe:local"))
    finally:
        go_on.set()
    assert crowd.end() == ["joe"]
    assert is_refused(authenticator, basic("joe:local"))


def test_wrong_logins_push_out_no_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_memory, "WRONG_BYTES", 1 << 14)
    directory = Directory()
    authenticator = directory.authenticator()
    authenticator.identify(RIGHT)
    for number in range(300):
        assert is_refused(authenticator, basic(f"joe:{number}"))
    wrong = authenticator._memory._wrong
    assert len(wrong._values) < 60 and wrong._size <= 1 << 14
    directory.calls.clear()
    assert authenticator.identify(RIGHT).name == "joe"
    assert directory.calls == []


def test_right_logins_are_bounded_in_bytes_and_a_user_in_many_groups_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    groups = frozenset(f"cn=department {number},ou=groups,dc=example" for number in range(2000))
    directory = Directory(answer=lambda user, password: Principal(user, groups if user == "joe" else frozenset()))
    authenticator = directory.authenticator()
    for _ in range(3):
        assert authenticator.identify(RIGHT).groups == groups
    assert len(directory.calls) == 1
    monkeypatch.setattr(login_memory, "RIGHT_BYTES", 1 << 14)
    authenticator = directory.authenticator()
    for number in range(300):
        authenticator.identify(basic(f"user{number}:x"))
    assert authenticator._memory._right._size <= 1 << 14


def test_neither_header_nor_password_is_kept() -> None:
    directory = Directory()
    authenticator = directory.authenticator()
    authenticator.identify(RIGHT)
    is_refused(authenticator, WRONG)
    assert "sesame" not in repr(authenticator._memory._right._values)
    assert RIGHT.encode() not in authenticator._memory._right._values
