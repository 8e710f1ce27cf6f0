"""A rights file, by what clients get: a project that may not be listed answers like one that never existed."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypiserver import Principal, request_info
from pypiserver.errors import ConfigError
from tests.make_archives import make_sdist, make_wheel
from tests.raising import raises

from ..waiting import eventually
from ..wsgi import Answer, Client, form

Serve = Callable[..., Client]

FALLBACK = "https://other.example/simple/"
RIGHTS = """
group staff: ada
everyone       read                      open-*
@staff         read                      acme-*
ci             upload                    acme-sdk    # may not see what it uploads
ci             list,upload               acme-tool
root           all                       *
eve            read                      oauth
"""
# One exists, and the other never did; they are of one length.
HIDDEN, ABSENT = "zeta-one", "zeta-two"
ADDRESSES = (
    "/simple/{}", "/simple/{}/", "/+simple/{}", "/+simple/{}/", "/{}", "/{}/", "/{}/json", "/{}/1.0/json", "/{}/1.0",
    "/{}/1.0/", "/pypi/{}", "/pypi/{}/", "/pypi/{}/json", "/pypi/{}/1.0/json", "/pypi/{}/1.0", "/pypi/{}/1.0/",
    "/project/{}", "/project/{}/", "/project/{}/1.0", "/project/{}/1.0/", "/project/{}/9.9/",
    "/packages/{}-1.0.tar.gz", "/packages/{}-1.0.tar.gz.metadata", "/packages/{}-1.0.tar.gz.asc",
    "/packages/{}-1.0.tar.gz.provenance", "/packages/sub/{}-1.0.tar.gz", "/packages/{}/",
    "/packages/{}-1.0.tar.gz.asc.asc", "/simple/{}/?format=application/vnd.pypi.simple.v1+json",
)  # fmt: skip
# Spellings of the same name.
SPELLINGS: tuple[Callable[[str], str], ...] = (str, str.upper, lambda name: name.replace("-", "_."))
ACCEPTS = (
    "*/*", "text/html", "application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.v1+html", "application/json"
)  # fmt: skip


def login(user: str, password: str = "sesame") -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def rights(tmp_path: Path) -> Path:
    path = tmp_path / "rights"
    path.write_text(RIGHTS)
    return path


@pytest.fixture
def filled(root: Path) -> Path:
    for name in ("acme-sdk", "open-lib", HIDDEN):
        filename, content = make_sdist(name, "1.0")
        (root / filename).write_bytes(content)
        (root / f"{filename}.asc").write_bytes(b"signature")
    return root


@pytest.fixture
def client(serve: Serve, rights: Path, filled: Path) -> Client:
    return serve(rights=rights, auther=lambda user, password: password == "sesame", fallback_url=FALLBACK)


def shown(answer: Answer, name: str) -> tuple[object, ...]:
    """An answer, with another name in place of this one."""
    spelled = [(each(name), each("the-name")) for each in SPELLINGS]

    def other(text: str) -> str:
        for here, there in spelled:
            text = text.replace(here, there)
        return text

    headers = {key: other(value) for key, value in answer.headers.items()}
    return answer.status, other(answer.reason), headers, other(answer.body.decode("latin-1"))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("user", [None, "ada", "ci", "eve", "nobody"])
def test_a_hidden_project_answers_like_one_that_never_existed(client: Client, user: str | None, method: str) -> None:
    headers = login(user) if user else {}
    for address in ADDRESSES:
        for spell in SPELLINGS:
            for accept in ACCEPTS if spell is str else ACCEPTS[:1]:
                answers = [
                    shown(client.request(method, address.format(spell(name)), HTTP_ACCEPT=accept, **headers), name)
                    for name in (HIDDEN, ABSENT)
                ]
                assert answers[0] == answers[1], (address, accept)
                assert answers[0][0] in (302, 401, 404, 405), (address, accept)
                assert "other.example" not in str(answers[0])
                assert method != "GET" or (answers[0][0] == 401) <= (user is None)


def test_who_may_see_it_sees_it(client: Client) -> None:
    for address in ADDRESSES[:20]:
        answer = client.get(address.format(HIDDEN), **login("root"))
        assert answer.status in (200, 302), address
    for suffix in ("", ".asc"):
        assert client.get(f"/packages/{HIDDEN}-1.0.tar.gz{suffix}", **login("root")).status == 200
        assert client.get(f"/packages/acme-sdk-1.0.tar.gz{suffix}", **login("ada")).status == 200
        assert client.get(f"/packages/open-lib-1.0.tar.gz{suffix}").status == 200


def test_nothing_is_looked_up_for_a_hidden_project(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    application: Any = client._application

    def refuse(*arguments: object) -> None:
        raise AssertionError(arguments)

    for method in ("project", "file", "serial", "project_serial", "sidecar", "faults", "open"):
        monkeypatch.setattr(application.repository, method, refuse)
    for address in ADDRESSES:
        if address != "/packages/{}/" and "asc.asc" not in address:
            assert client.get(address.format(HIDDEN), HTTP_ACCEPT="text/html", **login("ada")).status in (302, 404)


def test_who_may_not_list_a_name_is_sent_nowhere(client: Client) -> None:
    """Whether another index has it is not asked for him, and its address is not told."""
    assert client.get("/simple/acme-new/", **login("ada")).headers["location"] == f"{FALLBACK}acme-new/"
    assert client.get("/simple/open-new/").headers["location"] == f"{FALLBACK}open-new/"
    answer = client.get("/simple/numpy/", **login("ada"))
    assert (answer.status, "location" in answer.headers) == (404, False)
    assert client.get("/simple/numpy/").status == 401
    # A page for people links to the other index for a name that may be listed only.
    page = {"HTTP_ACCEPT": "text/html", **login("ada")}
    assert b"other.example" in client.get("/project/acme-new/", **page).body
    assert b"other.example" not in client.get("/project/numpy/", **page).body


def test_the_answer_for_a_hidden_project_is_that_of_an_unknown_one(serve: Serve, rights: Path, filled: Path) -> None:
    """Without another index, also that of an unknown project whose name may be listed."""
    client = serve(rights=rights, auther=lambda user, password: password == "sesame", fallback=False)
    for address in (*ADDRESSES[:20], "/packages/{}-1.0.tar.gz", "/packages/{}-1.0.tar.gz.asc"):
        for accept in ACCEPTS:
            hidden, unknown = (
                shown(client.get(address.format(name), HTTP_ACCEPT=accept, **login(user)), name)
                for name, user in ((HIDDEN, "ada"), (ABSENT, "root"))
            )
            assert hidden == unknown, (address, accept)


def test_wrong_credentials_are_refused_everywhere(client: Client) -> None:
    for path in ("/simple/", "/simple/open-lib/", f"/simple/{HIDDEN}/", "/packages/open-lib-1.0.tar.gz", "/projects/"):
        assert client.get(path, **login("ada", "wrong")).status == 401


def test_no_shared_cache_may_store_what_rights_decide(client: Client) -> None:
    for path in ("/simple/open-lib/", "/packages/open-lib-1.0.tar.gz", "/packages/open-lib-1.0.tar.gz.asc",
                 "/open-lib/json", "/project/open-lib/", "/simple/open-new/"):  # fmt: skip
        answer = client.get(path)
        assert "private" in answer.headers["cache-control"], path
        assert answer.headers["x-accel-expires"] == "0", path


def test_an_etag_of_a_project_that_is_hidden_now_answers_nothing(client: Client, rights: Path) -> None:
    known = {"HTTP_IF_NONE_MATCH": client.get("/simple/acme-sdk/", **login("ada")).headers["etag"], **login("ada")}
    assert client.get("/simple/acme-sdk/", **known).status == 304
    rights.write_text("ada read open-*\n")
    assert client.get("/simple/acme-sdk/", **known).status == 404


def test_only_users_who_log_in_see_who_uploaded(serve: Serve, rights: Path, tmp_path: Path, filled: Path) -> None:
    client = serve(rights=rights, auther=lambda user, password: True, audit_log=tmp_path / "audit.log")
    rights.write_text("maintainer upload open-lib\neveryone list *\n")
    assert client.upload(*make_wheel("open-lib", "2.0"), **login("maintainer")).status == 200
    for _ in range(2):
        assert "maintainer" not in client.get("/project/open-lib/", HTTP_ACCEPT="text/html").text
        assert "maintainer" in client.get("/project/open-lib/", HTTP_ACCEPT="text/html", **login("ada")).text


# -- changes --------------------------------------------------------------------------------------------------------


def test_an_upload_is_refused_before_a_byte_is_kept(
    client: Client, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    application: Any = client._application
    monkeypatch.setattr(application.backend.writer, "stage", lambda *arguments: pytest.fail("a byte was kept"))
    before = sorted(path.name for path in root.iterdir())
    for name in (HIDDEN, ABSENT, "open-lib"):
        filename, content = make_wheel(name, "2.0")
        assert client.upload(filename, content, **login("ci")).status == 403
        assert client.upload(filename, content, **login("ada")).status == 403
        assert client.upload(filename, content).status == 401
    assert sorted(path.name for path in root.iterdir()) == before


def test_who_uploads_need_not_see(client: Client) -> None:
    filename, content = make_wheel("acme-sdk", "2.0")
    assert client.upload(filename, content, **login("ci")).status == 200
    assert client.upload(filename, content, **login("ci")).status == 200, "the same bytes"
    assert client.get("/simple/acme-sdk/", **login("ci")).status == 404
    assert filename in client.get("/simple/acme-sdk/", **login("ada")).text
    # A new project of a name that the pattern covers is created by its first upload.
    assert client.upload(*make_wheel("acme-tool", "1.0"), **login("ci")).status == 200


def test_replacing_is_a_right_of_its_own(client: Client, rights: Path) -> None:
    filename, content = make_wheel("acme-sdk", "2.0")
    other = make_wheel("acme-sdk", "2.0", summary="another")[1]
    assert client.upload(filename, content, **login("ci")).status == 200
    answer = client.upload(filename, other, **login("ci"))
    assert answer.status == 409
    assert "-o" not in answer.text.split()
    assert client.upload(filename, other, **login("root")).status == 200
    rights.write_text("ci upload,overwrite acme-sdk\nci upload acme-tool\n")
    assert client.upload(filename, content, **login("ci")).status == 200


@pytest.mark.parametrize(("name", "is_told"), [("acme-sdk", False), ("acme-tool", True)])
def test_another_spelling_is_named_to_those_who_may_list_it(client: Client, name: str, is_told: bool) -> None:
    _, content = make_wheel(name, "3.0")
    first = f"{name.replace('-', '_')}-3.0-py3-none-any.whl"
    assert client.upload(first, content, **login("ci")).status == 200
    second = first.replace("_", ".", 1)
    answer = client.upload(second, content, **login("ci"))
    assert (answer.status, first in answer.text) == (409, is_told)


def post(client: Client, action: str, name: str, user: str | None) -> Answer:
    body, kind = form({":action": action, "name": name, "version": "1.0"})
    return client.post("/", body, CONTENT_TYPE=kind, **(login(user) if user else {}))


@pytest.mark.parametrize("action", ["yank", "unyank", "remove_pkg"])
def test_yanking_and_deleting_are_rights_of_their_own(client: Client, rights: Path, action: str) -> None:
    assert post(client, action, HIDDEN, None).status == 401
    hidden, absent = (post(client, action, name, "ci") for name in (HIDDEN, ABSENT))
    assert hidden.status == 403
    assert shown(hidden, HIDDEN) == shown(absent, ABSENT)
    right = "delete" if action == "remove_pkg" else "yank"
    rights.write_text(f"ci {right} acme-*\n")
    assert post(client, action, HIDDEN.upper(), "ci").status == 403
    assert post(client, action, "Acme_SDK", "ci").status == 200
    rights.write_text(f"ci {'yank' if right == 'delete' else 'delete'} *\n")
    assert post(client, action, "acme-sdk", "ci").status == 403


# -- names that fit two projects ------------------------------------------------------------------------------------


@pytest.fixture
def two_projects(filled: Path) -> str:
    """A file whose name may be of oauth or of oauth-2, and is of oauth-2."""
    _, content = make_sdist("oauth-2", "5")
    (filled / "oauth-2-5.tar.gz").write_bytes(content)
    return "/packages/oauth-2-5.tar.gz"


def test_a_file_whose_name_fits_two_projects_is_of_the_one_that_its_metadata_names(
    two_projects: str, client: Client, rights: Path
) -> None:
    assert client.get(two_projects, **login("root")).status == 200
    # eve may read oauth, but not oauth-2.
    hidden = client.get(two_projects, **login("eve"))
    absent = client.get("/packages/oauth-2-6.tar.gz", **login("eve"))
    assert hidden.status == 404
    assert shown(hidden, "oauth-2-5") == shown(absent, "oauth-2-6")
    rights.write_text("eve read oauth-2\n")
    assert client.get(two_projects, **login("eve")).status == 200


def test_a_file_name_that_fits_a_hidden_project_costs_no_more_if_it_is_there(
    two_projects: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is looked up once is remembered of both, so the time of an answer tells nothing."""
    paths, asked = (two_projects, "/packages/oauth-2-6.tar.gz"), []
    # The first request has the file read, which changes the catalog.
    assert [client.get(path, **login("eve")).status for path in paths * 2] == [404] * 4
    repository = client._application.repository  # type: ignore[attr-defined]
    real = repository.file
    monkeypatch.setattr(repository, "file", lambda path: (asked.append(path), real(path))[1])

    def looked_up() -> list[str]:
        asked.clear()
        assert [client.get(path, **login("eve")).status for path in paths] == [404] * 2
        return list(asked)

    # A scan may change the catalog once more.
    assert eventually(lambda: looked_up() == [], 10.0)
    assert client.get(two_projects, **login("root")).status == 200


def test_an_upload_whose_name_fits_two_projects_is_of_the_one_that_its_metadata_names(
    client: Client, rights: Path, filled: Path
) -> None:
    rights.write_text("eve upload oauth\n")
    _, content = make_sdist("oauth-2", "5")
    assert client.upload("oauth-2-5.tar.gz", content, **login("eve")).status == 403
    assert not (filled / "oauth-2-5.tar.gz").exists()
    rights.write_text("eve upload oauth-2\n")
    assert client.upload("oauth-2-5.tar.gz", content, **login("eve")).status == 200


def test_a_file_of_another_project_is_replaced_only_with_the_right_to_it(
    two_projects: str, client: Client, rights: Path, filled: Path
) -> None:
    """The metadata of the new file names oauth, and that of the old one oauth-2."""
    before = (filled / "oauth-2-5.tar.gz").read_bytes()
    _, content = make_sdist("oauth", "2-5")
    rights.write_text("eve all oauth\nroot all *\n")
    assert client.upload("oauth-2-5.tar.gz", content, **login("eve")).status == 409
    assert (filled / "oauth-2-5.tar.gz").read_bytes() == before
    assert client.upload("oauth-2-5.tar.gz", content, **login("root")).status == 200


@pytest.mark.parametrize("action", ["yank", "remove_pkg"])
def test_a_file_that_was_not_read_yet_is_changed_only_with_the_right_to_its_project(
    client: Client, rights: Path, filled: Path, action: str
) -> None:
    """By its name it is of oauth-2, by its metadata of oauth."""
    rights.write_text("eve all oauth-2\n")
    path = filled / "oauth-2-5.tar.gz"
    path.write_bytes(make_sdist("oauth", "2-5")[1])
    body, kind = form({":action": action, "name": "oauth-2", "version": "5"})
    assert client.post("/", body, CONTENT_TYPE=kind, **login("eve")).status == 404
    assert path.exists()
    assert not path.with_name(f"{path.name}.yanked").exists()


@pytest.mark.parametrize("action", ["yank", "remove_pkg"])
def test_a_damaged_file_is_changed_only_with_the_right_to_each_project_that_its_name_fits(
    client: Client, rights: Path, filled: Path, action: str
) -> None:
    path = filled / "oauth-2-5.tar.gz"
    path.write_bytes(b"not an archive")
    os.utime(path, (1_600_000_000, 1_600_000_000))
    for project, version in (("oauth", "2.post5"), ("oauth-2", "5")):
        rights.write_text(f"eve all {project}\n")
        body, kind = form({":action": action, "name": project, "version": version})
        assert client.post("/", body, CONTENT_TYPE=kind, **login("eve")).status == 404
        _, content = make_sdist(project, version)
        assert client.upload("oauth-2-5.tar.gz", content, **login("eve")).status in (400, 409)
        assert path.read_bytes() == b"not an archive"
        assert not path.with_name(f"{path.name}.yanked").exists()
    rights.write_text("eve all oauth oauth-2\n")
    body, kind = form({":action": "remove_pkg", "name": "oauth-2", "version": "5"})
    assert client.post("/", body, CONTENT_TYPE=kind, **login("eve")).status == 200
    assert not path.exists()


def test_a_missing_file_says_nothing_of_a_project_that_may_be_downloaded_and_not_listed(
    client: Client, rights: Path, filled: Path
) -> None:
    """A page about a file that is not here leads to where its project is, if that is elsewhere."""
    rights.write_text("eve download *\nada read *\n")
    pages = {}
    for user in ("eve", "ada"):
        for name in (HIDDEN, ABSENT):
            answer = client.get(f"/packages/{name}-9.tar.gz", HTTP_ACCEPT="text/html", **login(user))
            assert answer.status == 404
            pages[user, name] = shown(answer, name)
    assert pages["eve", HIDDEN] == pages["eve", ABSENT]
    # The link is there for who may list.
    assert pages["ada", HIDDEN] != pages["ada", ABSENT]


def test_a_damaged_file_that_may_be_of_a_hidden_project_is_not_named(
    client: Client, rights: Path, filled: Path
) -> None:
    rights.write_text("eve read oauth\n")
    path = filled / "oauth-2-5.tar.gz"
    path.write_bytes(b"not an archive")
    os.utime(path, (1_600_000_000, 1_600_000_000))
    for address in ("/simple/oauth/", "/project/oauth/", "/oauth/json"):
        for accept in ACCEPTS:
            answer = client.get(address, HTTP_ACCEPT=accept, **login("eve"))
            assert answer.status == 503
            assert "oauth-2" not in answer.reason + answer.text, address


@pytest.mark.parametrize(("groups", "status"), [(["staff"], 200), ({"staff"}, 200), ("staff", 503), (None, 503)])
def test_groups_of_a_plug_in_are_names(serve: Serve, rights: Path, filled: Path, groups: Any, status: int) -> None:
    client = serve(rights=rights, auther=lambda user, password: Principal("bob", groups))
    answer = client.get("/simple/", **login("bob"))
    assert (answer.status, "acme-sdk" in answer.text) == (status, status == 200)


def test_the_user_of_a_request_that_rights_refuse_is_noted_for_the_log(client: Client) -> None:
    seen: list[dict[str, Any]] = []

    def noting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        seen.append(environ)
        return client._application(environ, start_response)

    for path in (f"/simple/{HIDDEN}/", f"/packages/{HIDDEN}-1.0.tar.gz", f"/pypi/{ABSENT}/json"):
        assert Client(noting).get(path, **login("ada")).status == 404
        assert seen[-1][request_info.USER] == "ada"


# -- the file -------------------------------------------------------------------------------------------------------


def test_a_change_of_the_file_counts_from_the_next_request(client: Client, rights: Path) -> None:
    path = f"/simple/{HIDDEN}/"
    for _ in range(3):
        assert client.get(path, **login("ada")).status == 404
        rights.write_text(RIGHTS + f"ada read {HIDDEN}\n")
        assert client.get(path, **login("ada")).status == 200
        rights.write_text(RIGHTS)


def test_without_the_file_nothing_is_allowed_and_nothing_is_absent(
    client: Client, rights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/simple/acme-new/", **login("ada")).status == 302
    rights.unlink()
    assert client.get("/simple/acme-new/", **login("ada")).status == 302, "an editor replaces it"
    monkeypatch.setattr("pypiserver.access.live_file.GRACE_SECONDS", 0.0)
    for path in ("/simple/acme-sdk/", "/simple/acme-new/", f"/simple/{HIDDEN}/", "/packages/acme-sdk-1.0.tar.gz",
                 "/simple/open-lib/", "/simple/"):  # fmt: skip
        answer = client.get(path, **login("ada"))
        assert (answer.status, answer.headers.get("retry-after")) == (503, "2"), path
    assert client.get("/health").status == 200


def test_a_file_that_cannot_be_used_stops_the_start(serve: Serve, rights: Path) -> None:
    rights.write_text("ada read\n")
    with raises(ConfigError, kind="lines", setting="rights"):
        serve(rights=rights)
