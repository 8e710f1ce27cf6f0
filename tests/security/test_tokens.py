"""Tokens against real servers: they appear nowhere, cost no slow hash, and each change counts at the next request."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

import pypiserver
from pypiserver.access import password_file
from pypiserver.access.authentication import Authenticator
from pypiserver.access.htpasswd_file import remove_user, set_password
from pypiserver.access.password_file import HtpasswdFile
from pypiserver.access.token_file import TokenFile, TokenFileStore
from pypiserver.access.token_lines import TokenLines
from pypiserver.access.token_record import Limits, TokenRecord, mint, rotate, to_line
from pypiserver.access.token_text import new_id, new_text
from pypiserver.access.tokens import Tokens
from pypiserver.errors import Unauthorized
from tests.figures import count
from tests.hostile import ask, every_server, serving, upload, wheel
from tests.security.test_live import children_of

NAME, DATA = wheel("foo")
EVERYTHING = ("-a", "update,list,download", "--disable-fallback")


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def made(home: Path, *may: str, user: str = "ada", seconds: int | None = None) -> tuple[TokenRecord, str]:
    """A token of the user, in the file ``tokens``, and its text."""
    import time

    record, text = mint(user, Limits(may or ("all",)), seconds=seconds, now=time.time())
    TokenFileStore(home / "tokens").change(lambda tokens: [record])
    return record, text


def changed(home: Path, token_id: str, change: Callable[[TokenRecord], TokenRecord]) -> None:
    def decide(tokens: TokenLines) -> list[TokenRecord]:
        found = tokens.get(token_id)
        assert found is not None
        return [change(found)]

    TokenFileStore(home / "tokens").change(decide)


@every_server
def test_a_token_appears_nowhere(server: str, tmp_path: Path) -> None:
    """In no log however detailed, no answer, no file, no title or environment of a process; its id is in the log."""
    passwords, log, audit = tmp_path / "htpasswd", tmp_path / "server.log", tmp_path / "audit.log"
    set_password(passwords, "ada", "sesame")
    record, text = made(tmp_path)
    _, stranger = mint("ada", Limits(("all",)), seconds=None, now=0)
    bodies: list[bytes] = []
    flags = ("-P", passwords, "--tokens", tmp_path / "tokens", "-vvv", "--log-file", log, "--audit-log", audit)
    formats = ("--log-req-frmt", "%s", "--log-res-frmt", "%s", "--log-err-frmt", "%s")
    with serving(tmp_path, *flags, *formats, *EVERYTHING, server=server) as live:
        for way in (basic("__token__", text), basic("bob", text), basic(text, ""), f"Bearer {text}"):
            for path in (
                "/",
                "/simple/",
                "/simple/foo/",
                f"/packages/{NAME}",
                f"/nowhere/{text}",
                f"/simple/?a={text}",
            ):
                bodies.append(ask(live.url, path, Authorization=way).body.replace(text.encode(), b""))
            reply = upload(live.url, NAME, DATA, Authorization=way)
            assert reply.status == 200
            bodies.append(reply.body)
        for wrong in (
            f"Bearer {text[:-1]}", f"Bearer {text}x", f"Basic {text}", text, basic("__token__", text[:-5]),
            basic("__token__", text.swapcase()), f"Bearer {stranger}", basic("ada", stranger), f"Digest {text}",
        ):  # fmt: skip
            reply = ask(live.url, "/simple/", Authorization=wrong)
            assert reply.status == 401
            assert reply.headers["www-authenticate"].startswith('Basic realm="pypi"')
            bodies.append(reply.body)
        for pid in children_of(live.process.pid):
            # One that renders may end meanwhile.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                bodies += [Path(f"/proc/{pid}/{what}").read_bytes() for what in ("cmdline", "environ", "comm")]
    bodies += [live.output.encode()]
    bodies += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    secrets = [each[13:21].encode() for each in (text, stranger)]
    encoded = [basic("__token__", text).encode()[-24:-4], basic(text, "").encode()[-24:-4]]
    for secret in (*secrets, *encoded):
        assert not [body[max(0, body.find(secret) - 200) :][:300] for body in bodies if secret in body]
    assert record.id in log.read_text()
    assert [json.loads(line)["token"] for line in audit.read_text().splitlines()] == [record.id]


def test_wrong_tokens_cost_no_slow_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_password(tmp_path / "htpasswd", "ada", "sesame")
    record, text = made(tmp_path)
    file = HtpasswdFile(tmp_path / "htpasswd")
    checks: list[str] = []
    monkeypatch.setattr(password_file, "fits", lambda entry, password: bool(checks.append(password)))
    authenticator = Authenticator(file, tokens=Tokens(TokenFile(tmp_path / "tokens"), file.has_user))
    for number in range(500):
        wrong = new_text(record.id if number % 2 else new_id())
        for header in (
            f"Bearer {wrong}",
            basic("__token__", wrong),
            basic("ada", wrong),
            basic("", wrong),
            basic("__token__", f"{number}"),
            basic("__token__", text[: number % len(text)]),
            f"Bearer {text[:30]}{number}",
        ):
            with pytest.raises(Unauthorized):
                authenticator.identify(header)
            count("wrong tokens")
    assert checks == []
    assert authenticator.identify(f"Bearer {text}").label == record.id
    with pytest.raises(Unauthorized):
        authenticator.identify(basic("ada", "wrong"))
    assert checks


MILLION = 1_000_000
OF_REQUESTS = 200_000
# What the process may grow by while wrong tokens come: caches are full after the first ones.
SPARE_BYTES = 16 << 20


def wrong_headers(record: TokenRecord) -> Iterator[str]:
    """Headers with tokens that are no token of ours, each another one, in every way to send one."""
    # A checksum for each would take most of the time, and what lacks a right one is refused before it is looked up.
    whole = [new_text(record.id if number % 2 else new_id()) for number in range(1000)]
    for number in itertools.count():
        yield f"Bearer {whole[number % 1000]}"
        yield basic("__token__", f"pps_{number:08d}_{number:038d}")
        yield basic(f"user{number}", whole[number % 1000])
        yield f"Bearer pps_{record.id}_{number:038d}"


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were compared with a slow hash."""
    found: list[str] = []
    monkeypatch.setattr(password_file, "fits", lambda entry, password: bool(found.append(password)))
    return found


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as Linux tells it")
def test_a_million_wrong_tokens_cost_no_slow_hash_and_no_memory(tmp_path: Path, checks: list[str]) -> None:
    set_password(tmp_path / "htpasswd", "ada", "sesame")
    record, text = made(tmp_path)
    file = HtpasswdFile(tmp_path / "htpasswd")
    authenticator = Authenticator(file, tokens=Tokens(TokenFile(tmp_path / "tokens"), file.has_user))
    refused, before = 0, 0
    for number, header in enumerate(itertools.islice(wrong_headers(record), MILLION)):
        if number == MILLION // 50:
            before = resident()
        try:
            authenticator.identify(header)
        except Unauthorized:
            refused += 1
    count("wrong tokens", refused)
    assert (refused, checks) == (MILLION, [])
    assert resident() - before < SPARE_BYTES
    assert authenticator.identify(f"Bearer {text}").label == record.id


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as Linux tells it")
def test_many_requests_with_wrong_tokens_cost_no_slow_hash_and_no_memory(
    tmp_path: Path, checks: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    # pytest keeps every line of the log.
    caplog.set_level(logging.CRITICAL, logger="pypiserver")
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / NAME).write_bytes(DATA)
    set_password(tmp_path / "htpasswd", "ada", "sesame")
    record, text = made(tmp_path)
    flags = {"password_file": str(tmp_path / "htpasswd"), "tokens": str(tmp_path / "tokens"), "authenticate": ["list"]}
    application = pypiserver.app(roots=[str(packages)], disable_fallback=True, **flags)
    statuses: Counter[str] = Counter()
    before = 0
    try:
        for number, header in enumerate(itertools.islice(wrong_headers(record), OF_REQUESTS)):
            if number == OF_REQUESTS // 10:
                before = resident()
            statuses[status_of(application, "/simple/foo/", header)] += 1
        count("requests with wrong tokens", OF_REQUESTS)
        assert (statuses, checks) == ({"401": OF_REQUESTS}, [])
        assert resident() - before < SPARE_BYTES
        assert status_of(application, "/simple/foo/", f"Bearer {text}") == "200"
    finally:
        application.close()


def status_of(application: Callable[..., Iterable[bytes]], path: str, authorization: str) -> str:
    environ: dict[str, Any] = {"PATH_INFO": path, "HTTP_AUTHORIZATION": authorization, "REMOTE_ADDR": "127.0.0.1"}
    setup_testing_defaults(environ)
    seen: list[str] = []
    for _ in application(environ, lambda status, headers, error=None: seen.append(status)):
        pass
    return seen[0].partition(" ")[0]


def test_a_user_called_as_tokens_are_sent_keeps_an_ordinary_password(tmp_path: Path) -> None:
    set_password(tmp_path / "htpasswd", "__token__", "an ordinary password")
    _, text = made(tmp_path, user="__token__")
    flags = ("-P", tmp_path / "htpasswd", "--tokens", tmp_path / "tokens", *EVERYTHING)
    with serving(tmp_path, *flags) as live:
        for password, status in (("an ordinary password", 200), (text, 200), ("another", 401), (text[:-1], 401)):
            assert ask(live.url, "/simple/", Authorization=basic("__token__", password)).status == status


def test_a_token_may_what_it_says_and_its_user_may(tmp_path: Path) -> None:
    set_password(tmp_path / "htpasswd", "ada", "sesame")
    reads, writes = (made(tmp_path, may)[1] for may in ("read", "upload"))
    limited = mint("ada", Limits(("all",), ("foo-*",)), seconds=None, now=0)
    TokenFileStore(tmp_path / "tokens").change(lambda tokens: [limited[0]])
    flags = ("-P", tmp_path / "htpasswd", "--tokens", tmp_path / "tokens", *EVERYTHING)
    with serving(tmp_path, *flags) as live:
        assert upload(live.url, NAME, DATA, Authorization=f"Bearer {reads}").status == 403
        assert upload(live.url, NAME, DATA, Authorization=f"Bearer {limited[1]}").status == 403
        assert upload(live.url, NAME, DATA, Authorization=f"Bearer {writes}").status == 200
        # Replacing needs the setting, whatever the token may.
        name, other = wheel("foo", filler=10)
        assert name == NAME
        assert upload(live.url, NAME, other, Authorization=f"Bearer {writes}").status == 409
        for token, status in ((reads, 200), (writes, 404), (limited[1], 404)):
            for path in ("/simple/foo/", f"/packages/{NAME}", "/foo/json"):
                assert ask(live.url, path, Authorization=f"Bearer {token}").status == status, (path, status)
        name, data = wheel("foo-bar")
        assert upload(live.url, name, data, Authorization=f"Bearer {limited[1]}").status == 200
        listed = ask(live.url, "/simple/", Authorization=f"Bearer {limited[1]}").body
        assert b"foo-bar" in listed
        assert b'"foo/"' not in listed


def test_no_address_makes_a_token(tmp_path: Path) -> None:
    """Tokens never make tokens: there is no route, so a leaked one cannot outlive its revocation."""
    import pypiserver

    _, _ = made(tmp_path)
    application = pypiserver.app(root=str(tmp_path), tokens=str(tmp_path / "tokens"), password_file=".")
    assert not [each.rule for each in application.routes if "token" in each.rule or "mint" in each.rule]


def test_each_change_counts_at_the_next_request(tmp_path: Path) -> None:
    passwords = tmp_path / "htpasswd"
    set_password(passwords, "ada", "sesame")
    record, text = made(tmp_path)
    flags = ("-P", passwords, "--tokens", tmp_path / "tokens", *EVERYTHING)
    with serving(tmp_path, *flags) as live:

        def status() -> int:
            return ask(live.url, "/simple/", Authorization=f"Bearer {text}").status

        assert status() == 200
        changed(tmp_path, record.id, lambda token: replace(token, revoked=1))
        assert status() == 401
        changed(tmp_path, record.id, lambda token: replace(token, revoked=None))
        assert status() == 200
        remove_user(passwords, "ada")
        assert status() == 401
        set_password(passwords, "ada", "other")
        assert status() == 200
        changed(tmp_path, record.id, lambda token: replace(token, expires=1))
        assert status() == 401


def test_a_rotation_under_load_refuses_no_request(tmp_path: Path) -> None:
    set_password(tmp_path / "htpasswd", "ada", "sesame")
    record, text = made(tmp_path)
    current = [text]
    refused: list[int] = []
    asked = [0] * 4
    done = threading.Event()
    flags = ("-P", tmp_path / "htpasswd", "--tokens", tmp_path / "tokens", *EVERYTHING)
    with serving(tmp_path, *flags) as live:

        def work(number: int) -> None:
            while not done.is_set():
                reply = ask(live.url, "/simple/", Authorization=f"Bearer {current[0]}")
                asked[number] += 1
                if reply.status != 200:
                    refused.append(reply.status)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(asked))]
        for thread in threads:
            thread.start()
        for _ in range(10):
            made_now: list[str] = []

            def rotated(token: TokenRecord, into: list[str] = made_now) -> TokenRecord:
                after, new = rotate(token, overlap=3600, seconds=None, now=token.created + 1)
                into[:] = [new]
                return after

            changed(tmp_path, record.id, rotated)
            current[0] = made_now[0]
            before = asked.copy()
            # Every thread has asked once with the new one before the old one is given up.
            while any(now < then + 2 for now, then in zip(asked, before, strict=True)) and not refused:
                done.wait(0.005)
        done.set()
        for thread in threads:
            thread.join()
    assert refused == []


def test_a_hundred_thousand_tokens_are_served(tmp_path: Path) -> None:
    """A start with them, one of them by its id, and a change of one."""
    set_password(tmp_path / "htpasswd", "ada", "sesame")
    record, text = made(tmp_path)
    tokens = tmp_path / "tokens"
    line = to_line(record)
    with tokens.open("a") as file:
        file.writelines(f"{line.replace(record.id, f'{number:08d}')}\n" for number in range(100_000))
    flags = ("-P", tmp_path / "htpasswd", "--tokens", tokens, *EVERYTHING)
    with serving(tmp_path, *flags) as live:
        assert ask(live.url, "/simple/", Authorization=f"Bearer {text}").status == 200
        program = [sys.executable, "-m", "pypiserver", "token", "revoke", str(tokens), record.id]
        subprocess.run(program, check=True, capture_output=True)
        assert ask(live.url, "/simple/", Authorization=f"Bearer {text}").status == 401
    assert len(tokens.read_text().splitlines()) == 100_001
