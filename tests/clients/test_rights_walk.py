"""An operator sets up rights for a team, a CI and a partner, asks before each step, and sees clients get just that.

Only commands and files that a shell has; the lines are those of the study of what organisations need.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.clients.harness import JSON_TYPE, Client, GetClient, Serve, installed, server_environ
from tests.clients.samples import add_project, add_wheel
from tests.clients.uploaders import TWINE
from tests.hostile import ask
from tests.live_server import LiveServer, pypi_server

RIGHTS = """\
group platform: ada grace @leads
group leads: zoe
group partners: pat
everyone       read              acme-public-*      # also without a login
authenticated  list,download     * !secret-* !acme-sdk*
@platform      read,upload,yank  acme-*
ci             upload            acme-sdk
@partners      read              acme-sdk acme-sdk-*
ada            all               *
"""
USERS = ("ada", "grace", "zoe", "pat", "ci", "kim")
SHELF = ("acme-public-api", "acme-sdk", "acme-sdk-extras", "secret-plan", "tool")
# Of each user ('' without a login) the projects that are listed.
SEEN = {
    "": {"acme-public-api"},
    "kim": {"acme-public-api", "tool"},
    "ci": {"acme-public-api", "tool"},
    "pat": {"acme-public-api", "acme-sdk", "acme-sdk-extras", "tool"},
    "zoe": {"acme-public-api", "acme-sdk", "acme-sdk-extras", "tool"},
    "ada": set(SHELF),
}
# User, project, action, and the number of the line that grants it, 0 for none.
ASKED = (
    ("zoe", "acme-web", "upload", 6),
    ("grace", "Acme_Web", "yank", 6),
    ("grace", "acme-web", "delete", 0),
    ("ci", "acme-sdk", "upload", 7),
    ("ci", "acme-sdk", "list", 0),
    ("ci", "acme-sdk-extras", "upload", 0),
    ("pat", "acme-sdk-extras", "download", 8),
    ("pat", "secret-plan", "list", 0),
    ("kim", "tool", "download", 5),
    ("everyone", "acme-public-api", "list", 4),
    ("everyone", "tool", "list", 0),
    ("ada", "secret-plan", "delete", 9),
)


class Operator:
    """A shell in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def types(self, *words: str, into: str = "") -> subprocess.CompletedProcess[str]:
        """Run ``pypi-server`` with these words; ``into`` is what it reads."""
        command = [*pypi_server()[:3], *words]
        environ = server_environ(self.folder / "home")
        return subprocess.run(
            command, cwd=self.folder, env=environ, input=into, capture_output=True, text=True, timeout=60, check=False
        )

    def gets(self, *words: str, into: str = "") -> str:
        """What a command that succeeds prints."""
        done = self.types(*words, into=into)
        assert done.returncode == 0, (words, done)
        return done.stdout


@pytest.fixture
def operator(tmp_path: Path, packages: Path) -> Operator:
    operator = Operator(tmp_path)
    for user in USERS:
        operator.gets("passwd", "htpasswd", user, into=f"the-password-of-{user}\n")
    (tmp_path / "rights").write_text(RIGHTS)
    for name in SHELF:
        add_wheel(packages, name, "1.0")
    return operator


def address(live: LiveServer, user: str) -> str:
    return live.url.replace("://", f"://{user}:the-password-of-{user}@" if user else "://", 1)


def listed(live: LiveServer, client: Client, user: str) -> set[str]:
    """The projects that a user gets, as curl has them; nothing is a refusal."""
    said = client.run("curl", "-sf", "-H", f"Accept: {JSON_TYPE}", f"{address(live, user)}/simple/")
    return {each["name"] for each in json.loads(said.stdout)["projects"]}


def test_an_operator_asks_before_the_start(operator: Operator) -> None:
    checked = operator.gets("config", "check", "-P", "htpasswd", "--rights", "rights", "-r", "packages")
    assert "kim" not in checked
    for user, project, action, line in ASKED:
        done = operator.types("rights", "check", user, project, "--may", action, "--rights", "rights", "--json")
        said = json.loads(done.stdout)["actions"][action]
        assert (done.returncode, said["allowed"]) == (0 if line else 1, line > 0), (user, project, action)
        assert [each["line"] for each in said["lines"]][:1] == ([line] if line else []), (user, project, action)
    for user, seen in SEEN.items():
        words = ("rights", "show", user or "everyone", "packages", "--rights", "rights", "--json")
        shown = json.loads(operator.gets(*words))["projects"]
        assert {each["project"] for each in shown if "list" in each["actions"]} == seen, user


def test_mistakes_are_named_before_the_start(operator: Operator) -> None:
    rights = operator.folder / "rights"
    rights.write_text(RIGHTS + "nora read acme-*\nada read nothing-*\n")
    noted = operator.types("config", "check", "-P", "htpasswd", "--rights", "rights", "-r", "packages")
    told = noted.stdout + noted.stderr
    assert noted.returncode == 0
    assert "'nora'" in told
    assert "11: it covers no project that is here now: ada read nothing-*" in told
    # There is one index: a line that would be read for all of it is refused, not misread.
    rights.write_text(RIGHTS + "[index staging]\n@platform all *\n")
    refused = operator.types("config", "check", "-P", "htpasswd", "--rights", "rights", "-r", "packages")
    assert refused.returncode != 0
    assert "line 10" in refused.stdout + refused.stderr


def test_clients_get_what_the_operator_was_told(
    operator: Operator, serve: Serve, client: GetClient, tmp_path: Path, packages: Path
) -> None:
    token = operator.gets("token", "mint", "tokens", "ci", "--may", "upload", "--projects", "acme-sdk").strip()
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o600
    live = serve("-P", tmp_path / "htpasswd", "--rights", tmp_path / "rights", "--tokens", tmp_path / "tokens")
    twine, pip = client("twine"), client("pip")
    assert {user: listed(live, pip, user) for user in SEEN} == SEEN

    statuses = []
    for project in ("acme-sdk", "acme-web"):
        home = add_project(tmp_path / project, project, "2.0")
        login = ("-u", "__token__", "-p", token, "--repository-url", f"{live.url}/")
        statuses.append(twine.run(*TWINE, *login, *sorted((home / "dist").iterdir()), status=None).returncode)
    assert statuses[0] == 0
    assert statuses[1] != 0
    assert not [path for path in packages.iterdir() if "web" in path.name]

    got = {}
    for user, project in (("pat", "acme-sdk"), ("", "acme-public-api"), ("kim", "acme-sdk"), ("", "tool")):
        target = tmp_path / f"{user}-{project}"
        pip.run(
            *pip.installer, "--index-url", f"{address(live, user)}/simple/", "--target", target, project, status=None
        )
        got[user, project] = installed(target).get(project)
    assert got == {
        ("pat", "acme-sdk"): "2.0",
        ("", "acme-public-api"): "1.0",
        ("kim", "acme-sdk"): None,
        ("", "tool"): None,
    }


def test_what_the_operator_changes_counts_for_the_next_request(
    operator: Operator, serve: Serve, client: GetClient, tmp_path: Path
) -> None:
    token = operator.gets("token", "mint", "tokens", "pat", "--may", "read").strip()
    live = serve("-P", tmp_path / "htpasswd", "--rights", tmp_path / "rights", "--tokens", tmp_path / "tokens")

    def status() -> int:
        return ask(live.url, "/simple/acme-sdk/", Authorization=f"Bearer {token}").status

    seen = [status()]
    (tmp_path / "rights").write_text(RIGHTS.replace("@partners      read ", "# @partners    read "))
    seen.append(status())
    (tmp_path / "rights").write_text(RIGHTS)
    seen.append(status())
    operator.gets("token", "revoke", "tokens", "--user", "pat")
    seen.append(status())
    assert seen == [200, 404, 200, 401]
    assert operator.gets("token", "find", "tokens", "-", into=f"found in a log: {token}\n").count("pat") == 1
    assert "revoked" in operator.gets("token", "list", "tokens")
    operator.gets("passwd", "htpasswd", "pat", "--remove")
    assert client("pip").run("curl", "-sf", f"{address(live, 'pat')}/simple/", status=None).returncode == 22
