"""Passwords: every scheme a htpasswd file may hold, and everything that must not log anybody in."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.access import live_file, password_file, password_hashes
from pypiserver.access.htpasswd_file import set_password
from pypiserver.access.password_file import HtpasswdFile
from pypiserver.errors import ConfigError, Unauthorized, Unavailable
from pypiserver.factory.access import build_authenticator
from pypiserver.settings.config import Config
from tests.raising import raises

from .credentials import basic

# "" is made by its own library; the password is always "sesame".
HASHES = {
    "bcrypt 2y": "",
    "apr1": "",
    "sha1": "{SHA}" + base64.b64encode(hashlib.sha1(b"sesame").digest()).decode(),
    "sha256": "",
    "sha512": "",
    "des": "",
    "plain": "sesame",
}


def made(scheme: str) -> str:
    """A hash of "sesame" by the scheme's own library."""
    if scheme == "bcrypt 2y":
        return password_hashes.make_hash("sesame", cost=4).replace("$2b$", "$2y$")
    names = {"apr1": "apr_md5_crypt", "sha256": "sha256_crypt", "sha512": "sha512_crypt", "des": "des_crypt"}
    if scheme in names:
        handler = password_hashes._handler(names[scheme])
        # A hundred times fewer rounds than passlib takes; what the hash says is what counts.
        rounds = {"rounds": 5000} if scheme.startswith("sha") else {}
        return str(handler.using(**rounds).hash("sesame"))
    return HASHES[scheme]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "htpasswd.txt"


def write(path: Path, *lines: str) -> HtpasswdFile:
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return HtpasswdFile(path)


@pytest.mark.parametrize("scheme", HASHES)
def test_the_right_password_fits_and_no_other(path: Path, scheme: str) -> None:
    file = write(path, f"joe:{made(scheme)}")
    for _ in range(2):
        assert file("joe", "sesame")
        assert not file("joe", "Sesame")
        assert not file("joe", "")
        assert not file("joe", "sesame\0")
    assert not file("jane", "sesame")


def test_known_hashes_of_other_programs_fit(path: Path) -> None:
    """Made by openssl passwd, Apache and coreutils, so that a hash and a check of ours cannot be wrong together."""
    file = write(
        path,
        "apr:$apr1$xxxxxxxx$dxHfLAsjHkDRmG83UXe8K0",
        "sha256:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "sha:{SHA}00hq6RNueFa8QiEjhep5cJRHWAI=",
    )
    assert file("apr", "password")
    assert file("sha256", "Hello world!")
    assert file("sha", "Hello world!")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "$2y$05$short",
        "$2y$31$" + "a" * 53,
        "$6$rounds=9999999$salt$" + "a" * 86,
        "$1$salt$" + "a" * 22,
        "{SSHA}abc",
        "{SHA}x",
        "!",
        "*",
        "!sesame",
        "*0",
        "$argon2id$v=19$x",
        "_J9..rasmBYk8r9AiWNc",
    ],
)
def test_no_other_text_logs_anyone_in(path: Path, stored: str, caplog: pytest.LogCaptureFixture) -> None:
    file = write(path, "# comment", f"joe:{stored}", "ann:" + made("sha1"))
    with caplog.at_level(logging.WARNING):
        for password in ("", stored, "sesame"):
            assert not file("joe", password)
    assert file("ann", "sesame")
    assert [message for message in caplog.messages if message.startswith("Line 2 ")]


def test_changes_count_at_once(path: Path) -> None:
    file = write(path, "joe:" + made("sha1"))
    assert file("joe", "sesame")
    write(path, "ann:" + made("sha1"))
    assert not file("joe", "sesame")
    assert file("ann", "sesame")


def test_a_change_that_does_not_show_counts_at_once(path: Path) -> None:
    """In place, of one length, and within the time that the file system can tell apart."""
    file = write(path, "joe:" + made("sha1"))
    status = path.stat()
    assert file("joe", "sesame")
    path.write_text("ann:" + made("sha1") + "\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_ino, path.stat().st_size) == (status.st_ino, status.st_size)
    assert not file("joe", "sesame")
    assert file("ann", "sesame")


def test_a_file_that_stays_missing_closes_the_door(path: Path) -> None:
    now = [0.0]
    write(path, "joe:" + made("sha1"))
    file = HtpasswdFile(path, clock=lambda: now[0])
    assert file("joe", "sesame")
    path.unlink()
    assert file("joe", "sesame")
    now[0] = 5.1
    with pytest.raises(Unavailable):
        file("joe", "sesame")


def test_an_unknown_user_costs_as_much_as_a_known_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    monkeypatch.setattr(password_file, "fits", lambda entry, password: checked.append(entry.scheme) is not None)
    file = write(path, "joe:" + made("bcrypt 2y"), "ann:" + made("sha1"))
    assert not file("nobody", "x")
    unknown = list(checked)
    checked.clear()
    assert not file("joe", "x")
    assert sorted(checked) == sorted(unknown) == ["bcrypt", "sha1"]


def test_a_long_password_is_cut_as_apache_cuts_it(path: Path) -> None:
    file = write(path, "joe:" + password_hashes.make_hash("x" * 80, cost=4))
    assert file("joe", "x" * 80) and file("joe", "x" * 72) and not file("joe", "x" * 71)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_file_others_may_write_is_warned_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(path, "joe:" + made("plain"))
    path.chmod(0o666)
    with caplog.at_level(logging.WARNING):
        file("joe", "sesame")
    assert any("chmod go-w" in message for message in caplog.messages)
    assert any("plain-text" in message for message in caplog.messages)
    assert "sesame" not in caplog.text


def test_a_missing_file_says_how_to_make_one(path: Path) -> None:
    with raises(ConfigError, kind="unreadable", setting="password_file", value=path):
        HtpasswdFile(path).check()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owner there")
@pytest.mark.parametrize(
    ("fault", "ours", "advice"),
    [
        (PermissionError(13, "Permission denied"), True, "chmod u+r"),
        (PermissionError(13, "Permission denied"), False, "belongs to"),
        (IsADirectoryError(21, "Is a directory"), True, "Name a file"),
        (FileNotFoundError(2, "No such file or directory"), True, "Make one"),
    ],
)
def test_an_unreadable_file_says_what_to_do(
    fault: OSError, ours: bool, advice: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, "joe:sesame")

    def refuse() -> None:
        raise fault

    file = HtpasswdFile(path)
    monkeypatch.setattr(file._file, "read", refuse)  # root may read every file; only the system's answer can be played
    if not ours:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(ConfigError) as caught:
        file.check()
    assert [
        words for words in ("chmod u+r", "belongs to", "Name a file", "Make one") if words in str(caught.value)
    ] == [advice]


def test_nothing_of_passlib_that_breaks_is_imported() -> None:
    code = (
        "import sys; from pypiserver.access import password_hashes;"
        "password_hashes._handler('apr_md5_crypt'); password_hashes._handler('sha512_crypt');"
        "print([m for m in sys.modules if m in ('passlib.apache', 'passlib.handlers.bcrypt')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(st.text(max_size=60))
def test_a_hash_is_recognised_or_refused(stored: str) -> None:
    try:
        password_hashes.read_entry(stored)
    except ValueError:
        return


def test_passwords_are_set_and_changed(path: Path) -> None:
    assert set_password(path, "joe", "one") is True
    assert path.stat().st_mode & 0o777 == 0o600 or os.name == "nt"
    path.write_text("# ours\n" + path.read_text() + "ann:" + made("sha1") + "\n")
    assert set_password(path, "joe", "two") is False
    file = HtpasswdFile(path)
    assert file("joe", "two") and not file("joe", "one") and file("ann", "sesame")
    assert path.read_text().startswith("# ours\n")
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_link_to_the_password_file_stays_a_link(path: Path) -> None:
    target = path.parent / "elsewhere" / "htpasswd"
    target.parent.mkdir()
    set_password(target, "joe", "one")
    path.symlink_to(target)
    set_password(path, "joe", "two")
    assert path.is_symlink()
    assert HtpasswdFile(target)("joe", "two")


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can give a file away")
def test_a_password_file_changed_by_root_keeps_its_owner(path: Path) -> None:
    """The server reads it as another user: sudo pypi-server passwd must not lock it out."""
    set_password(path, "joe", "one")
    os.chown(path, 12345, 23456)
    path.chmod(0o640)
    set_password(path, "joe", "two")
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (12345, 23456, 0o640)


@pytest.mark.parametrize(
    ("user", "password"), [("", "x"), ("a:b", "x"), ("a\nb", "x"), ("#a", "x"), ("a", ""), ("a", "x\0")]
)
def test_what_cannot_be_stored_is_refused(path: Path, user: str, password: str) -> None:
    with pytest.raises(ConfigError):
        set_password(path, user, password)
    assert not path.exists()


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are set at the lowest cost there is."""
    monkeypatch.setitem(password_hashes.make_hash.__kwdefaults__, "cost", 4)


@pytest.mark.parametrize("lapse", [0.0, 0.001, 3600.0])
def test_a_changed_file_counts_from_the_next_request_on(tmp_path: Path, lapse: float) -> None:
    """As the server makes it: nothing that was read is believed without a look."""
    path = tmp_path / "htpasswd"
    set_password(path, "joe", "one")
    authenticator = build_authenticator(Config(roots=(tmp_path,), password_file=path))
    assert authenticator is not None
    assert authenticator.identify(basic("joe:one")).name == "joe"
    set_password(path, "joe", "two")
    os.utime(path, (time.time() - lapse, time.time() - lapse))
    for _ in range(2):
        with pytest.raises(Unauthorized):
            authenticator.identify(basic("joe:one"))
    assert authenticator.identify(basic("joe:two")).name == "joe"


def test_a_change_of_a_settled_file_that_keeps_size_inode_and_time_counts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_file, "SETTLE_SECONDS", -1.0)
    file = write(path, "joe:" + made("sha1"))
    before = path.stat()
    assert file("joe", "sesame")
    time.sleep(0.05)  # more than a tick of the file system
    path.write_text("ann:" + made("sha1") + "\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert not file("joe", "sesame")


def test_a_file_that_does_not_change_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_file, "SETTLE_SECONDS", -1.0)
    file = write(path, "joe:" + made("sha1"))
    reads: list[int] = []
    real = file._file._read
    monkeypatch.setattr(file._file, "_read", lambda: reads.append(1) or real())
    for _ in range(20):
        assert file("joe", "sesame")
    assert reads == [1]


def test_a_file_that_is_too_large_is_refused_and_not_cut(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut in a line, half of a plain-text password would be a password."""
    monkeypatch.setattr(live_file, "MAX_FILE", len("joe:ses"))
    now = [0.0]
    write(path, "joe:sesame")
    file = HtpasswdFile(path, clock=lambda: now[0])
    with pytest.raises(Unavailable):
        file("joe", "ses")
    with raises(ConfigError, kind="unreadable", setting="password_file", value=path):
        file.check()
    now[0] = 6.0
    with pytest.raises(Unavailable):
        file("joe", "sesame")


MIXED = ("bcrypt 2y", "apr1", "sha1", "sha256", "sha512", "des", "plain")


@pytest.mark.parametrize("user", [*range(len(MIXED)), None])
def test_every_failed_login_costs_the_same_checks(
    path: Path, monkeypatch: pytest.MonkeyPatch, user: int | None
) -> None:
    """Counted, as time is too coarse: one check of each scheme, for any user name, known or not."""
    file = write(path, *[f"user{number}:{made(scheme)}" for number, scheme in enumerate(MIXED)])
    checked: list[str] = []
    real = password_hashes.fits
    monkeypatch.setattr(
        password_file, "fits", lambda entry, password: checked.append(entry.scheme) or real(entry, password)
    )
    assert not file("nobody" if user is None else f"user{user}", "wrong")
    assert sorted(checked) == ["apr1", "bcrypt", "des_crypt", "plain", "sha1", "sha256_crypt", "sha512_crypt"]


def test_users_of_cheaper_hashes_of_one_scheme_are_not_told_either(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {f"user{cost}": cost for cost in (4, 5, 6)}
    file = write(path, *[f"{user}:{password_hashes.make_hash('sesame', cost=cost)}" for user, cost in costs.items()])
    checked: list[str] = []
    real = password_hashes.fits
    monkeypatch.setattr(
        password_file, "fits", lambda entry, password: checked.append(entry.stored[:7]) or real(entry, password)
    )
    for user in (*costs, "nobody"):
        checked.clear()
        assert not file(user, "wrong")
        assert sorted(checked) == ["$2b$04$", "$2b$05$", "$2b$06$"], user
    checked.clear()
    assert file("user4", "sesame")
    assert checked == ["$2b$04$"]


def test_a_failed_login_takes_no_more_checks_than_the_limit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    salt = "$abcdefgh$" + "a" * 43
    file = write(path, *[f"user{number}:$5$rounds={1000 + number}{salt}" for number in range(40)])
    checked: list[str] = []
    monkeypatch.setattr(password_file, "fits", lambda entry, password: bool(checked.append(entry.scheme)))
    for user in ("user0", "user20", "user39", "nobody"):
        checked.clear()
        assert not file(user, "wrong")
        assert len(checked) == password_file.DECOYS, user


def test_while_too_many_logins_wait_all_failed_ones_say_so(path: Path) -> None:
    """Or those who are let past, because their hash is cheap, would be known to be users."""
    file = write(path, "joe:" + password_hashes.make_hash("sesame", cost=6), "ann:" + made("sha1"))
    while file._waiting.acquire(blocking=False):
        pass
    for user in ("joe", "ann", "nobody"):
        with pytest.raises(Unavailable):
            file(user, "wrong")
    assert file("ann", "sesame")


def test_a_hash_whose_library_is_missing_accepts_no_one_and_is_no_error(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(path, "joe:" + made("apr1"), "ann:" + made("sha1"))

    def missing(name: str) -> None:
        raise ConfigError("passlib cannot be used")

    monkeypatch.setattr(password_hashes, "_handler", missing)
    for user in ("joe", "ann", "nobody"):
        assert not file(user, "wrong")
    assert file("ann", "sesame")
    assert caplog.messages == ["passlib cannot be used"]


def test_each_warning_about_a_file_is_logged_once_a_content(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Commands, applications and reloads each have an object of their own."""
    path.write_text("nonsense\nada:plain\n")
    path.chmod(0o600)
    for _ in range(3):
        HtpasswdFile(path).check()
    assert len(caplog.messages) == 2
    path.write_text("nonsense\nada:plain\nmore nonsense\n")
    HtpasswdFile(path).check()
    assert [message.partition(" of ")[0] for message in caplog.messages[2:]] == ["Line 1", "Line 3"]
