"""The LDAP plug-in that the documentation shows, against a real slapd: who logs in, and what holds while it is down."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certificates import make_certificate
from tests.clients.samples import add_wheel
from tests.cluster.directory import PASSWORD, PEOPLE, READER_PASSWORD, USERS, Directory, settings, slapd
from tests.cluster.plug_ins import IMPATIENT, install
from tests.live_server import DIRECT, LiveServer, pypi_server, running


@pytest.fixture(scope="module")
def directory() -> Iterator[Directory]:
    with slapd() as server:
        yield server


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return install("ldap.rst", "acme-ldap", tmp_path_factory.mktemp("plug-in"))


@contextmanager
def serving(
    directory: Directory, environ: dict[str, str], tmp_path: Path, *flags: str | Path, is_impatient: bool = True
) -> Iterator[LiveServer]:
    packages = tmp_path / "packages"
    packages.mkdir()
    add_wheel(packages, "demo", "1.0")
    passwords = tmp_path / "htpasswd"
    passwords.write_text("ci:local\n")
    passwords.chmod(0o600)
    flags = ("--auth", f"ldap:{settings(directory, tmp_path)}", "-P", passwords, *flags)
    command = pypi_server("--server", "waitress", "--disable-fallback", *flags, packages)
    if is_impatient:
        command = [sys.executable, "-c", IMPATIENT, *command[3:]]
    with running(command, environ=environ, cwd=tmp_path) as server:
        yield server


def status(server: LiveServer, user: str = "", password: str = "", path: str = "/simple/") -> int:
    request = urllib.request.Request(f"{server.url}{path}")
    if user or password:
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {credentials}")
    try:
        with DIRECT.open(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return int(error.code)


def test_who_logs_in(directory: Directory, environ: dict[str, str], tmp_path: Path) -> None:
    with serving(directory, environ, tmp_path, "-a", "list") as server:
        for user in USERS:
            assert status(server, user, PASSWORD) == 200, user
            assert status(server, user, PASSWORD + "x") == 401, user
            # It would be an anonymous login, which slapd is set up to grant.
            assert status(server, user, "") == 401, user
        assert status(server, "ADA", PASSWORD) == 200
        assert status(server, "ci", "local") == 200
        for user in (
            "a*",
            "ad?",
            "nobody",
            "*)(uid=*",
            "ada)(|(uid=*",
            "cn=Ada Lovelace",
            "twin",
            "reader",
            "",
            "\\2a",
        ):
            assert status(server, user, PASSWORD) == 401, user
        assert status(server, "reader", READER_PASSWORD) == 401
        # Users of the file are asked there only.
        assert status(server, "ci", PASSWORD) == 401
        assert status(server) == 401


def test_an_empty_password_would_be_a_login(directory: Directory, environ: dict[str, str]) -> None:
    """So it is the server that refuses it: slapd says yes."""
    entry = f"cn=Ada Lovelace,{PEOPLE}"
    code = f"import ldap; ldap.initialize({directory.url!r}).simple_bind_s({entry!r}, '')"
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=60)


def test_who_it_is(directory: Directory, environ: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import sys; from pypiserver.access.plugins import load_check; check = load_check(sys.argv[1])\n"
        "for user in sys.argv[3:]: found = check(user, sys.argv[2]); print(found.name, sorted(found.groups))"
    )
    words = [sys.executable, "-c", code, f"ldap:{settings(directory, tmp_path)}", PASSWORD, *USERS, "ADA"]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60, check=False)
    expected = {user: ["staff"] for user in USERS} | {"ada": ["Data Platform", "staff"]}
    lines = [f"{user} {groups}" for user, groups in expected.items()]
    assert done.stdout.splitlines() == [*lines, lines[0]], done.stderr


def test_groups_of_the_directory_have_rights(directory: Directory, environ: dict[str, str], tmp_path: Path) -> None:
    rights = tmp_path / "rights"
    rights.write_text('@"Data Platform"  read  demo\n@staff  read  other\n')
    with serving(directory, environ, tmp_path, "--rights", rights) as server:
        for user, expected in (("ada", 200), ("ADA", 200), ("ann", 404)):
            assert status(server, user, PASSWORD, "/simple/demo/") == expected, user


@pytest.mark.parametrize("end", ["stopped", "hangs"])
def test_known_users_go_on_while_it_is_down(
    end: str, directory: Directory, environ: dict[str, str], tmp_path: Path
) -> None:
    with serving(directory, environ, tmp_path, "-a", "list") as server:
        assert status(server, "ada", PASSWORD) == 200
        assert status(server, "ann", PASSWORD + "x") == 401
        if end == "stopped":
            directory.stop()
        else:
            directory.signal(signal.SIGSTOP)
        try:
            # The login is old now, so it is asked again, and does not answer.
            time.sleep(1.5)
            for _ in range(20):
                assert status(server, "ada", PASSWORD) == 200
            for path in ("/", "/health", "/packages/demo-1.0-py2.py3-none-any.whl"):
                assert status(server, path=path) == 200
            began = time.monotonic()
            assert status(server, "ann", PASSWORD) == 503
            assert status(server, "ada", PASSWORD + "x") == 503
            assert time.monotonic() - began < 30
            assert status(server, "ci", "local") == 200
        finally:
            if end == "stopped":
                directory.start()
            else:
                directory.signal(signal.SIGCONT)
        deadline = time.monotonic() + 60
        while status(server, "ann", PASSWORD) != 200:
            assert time.monotonic() < deadline, server.output
            time.sleep(0.2)
        assert status(server, "ada", PASSWORD + "x") == 401
        assert status(server, "ada", PASSWORD) == 200
    assert server.output.count("Traceback") >= 1
    assert PASSWORD not in server.output and READER_PASSWORD not in server.output


def test_a_thousand_requests_of_a_user_ask_the_directory_once_a_minute(
    directory: Directory, environ: dict[str, str], tmp_path: Path
) -> None:
    """Counted by the file of the plug-in, whose check writes a line; a thousand are enough for one minute's memory."""
    counter = tmp_path / "counter"
    target = Path(environ["PYTHONPATH"].split(":")[1])
    counting = tmp_path / "counting"
    counting.mkdir()
    (counting / "sitecustomize.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(target)!r})\n"
        "import acme_ldap\n"
        "real = acme_ldap.check\n"
        "def check(settings, user, password):\n"
        f"    with open({str(counter)!r}, 'a') as file: file.write('x')\n"
        "    return real(settings, user, password)\n"
        "acme_ldap.check = check\n"
    )
    environ = environ | {"PYTHONPATH": f"{counting}:{environ['PYTHONPATH']}"}
    with serving(directory, environ, tmp_path, "-a", "list", is_impatient=False) as server:
        began = time.monotonic()
        for _ in range(1000):
            assert status(server, "ada", PASSWORD) == 200
        minutes = int((time.monotonic() - began) // 60) + 1
    assert len(counter.read_text()) <= minutes


@pytest.mark.parametrize("way", ["ldaps", "starttls"])
def test_passwords_cross_the_network_in_tls_only_to_a_directory_that_is_trusted(
    way: str, environ: dict[str, str], tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    with slapd(certificate) as directory:
        url = directory.secure_url if way == "ldaps" else directory.url
        file = settings(directory, tmp_path, url=url, more="starttls = yes\n" if way == "starttls" else "")
        packages = tmp_path / "packages"
        packages.mkdir()
        add_wheel(packages, "demo", "1.0")
        command = pypi_server("--disable-fallback", "--auth", f"ldap:{file}", "-a", "list", packages)
        trusting = environ | {"LDAPTLS_CACERT": str(certificate.authority)}
        with running(command, environ=trusting, cwd=tmp_path) as server:
            assert status(server, "ada", PASSWORD) == 200
            assert status(server, "ada", PASSWORD + "x") == 401
        # An authority that the machine does not know: the password is not sent.
        with running(command, environ=environ, cwd=tmp_path) as server:
            assert status(server, "ada", PASSWORD) == 503


def test_a_reader_that_the_directory_refuses_is_a_failure(
    directory: Directory, environ: dict[str, str], tmp_path: Path
) -> None:
    with serving(directory, environ, tmp_path, "-a", "list") as server:
        assert status(server, "ada", PASSWORD) == 200
    # The same settings with another password of the reader; the file is read at the start.
    path = tmp_path / "ldap.ini"
    wrong = path.read_text().replace(READER_PASSWORD, "wrong")
    path.write_text(wrong)
    command = pypi_server("--auth", f"ldap:{path}", "-a", "list", tmp_path / "packages")
    with running(command, environ=environ, cwd=tmp_path) as server:
        assert status(server, "ada", PASSWORD) == 503
    assert "INVALID_CREDENTIALS" in server.output and READER_PASSWORD not in server.output


@pytest.mark.parametrize("lines", ["", "[ldap]\n", "[ldap]\nurl = ldap://x\npeople = dc=x\nreader = cn=x\n"])
def test_settings_that_lack_something_end_the_start(environ: dict[str, str], tmp_path: Path, lines: str) -> None:
    path = tmp_path / "ldap.ini"
    path.write_text(lines)
    words = [sys.executable, "-m", "pypiserver", "config", "check", "--auth", f"ldap:{path}", "-r", str(tmp_path)]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and "--auth ldap" in done.stdout + done.stderr, done
