"""Uploading with every client: what arrives is what was sent, is served at once, and refusals are understood."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clients.harness import PASSWORD, USER, GetClient, Record, Serve, get, listed, server_environ
from tests.clients.samples import SHELF, add_project, add_sdist, add_wheel, fill
from tests.clients.uploaders import (
    SKIPPING,
    UPLOADS,
    UV,
    Upload,
    aiohttp,
    built,
    dist,
    hatch,
    said,
    setup_py,
    setup_py_docs,
    stored,
    twine,
    uv,
)
from tests.fake_index import FakeIndex, serving
from tests.live_server import pypi_server, running

WHEEL, SDIST = "newcomer-1.0-py2.py3-none-any.whl", "newcomer-1.0.tar.gz"
every_uploader = pytest.mark.parametrize(("name", "upload"), UPLOADS.values(), ids=UPLOADS)


@every_uploader
def test_upload_arrives_and_is_listed_at_once(
    name: str,
    upload: Upload,
    client: GetClient,
    serve: Serve,
    packages: Path,
    password_file: Path,
    tmp_path: Path,
) -> None:
    server = serve("-P", password_file)
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = upload(client(name), project, f"{server.url}/", PASSWORD)
    assert status == 0, output
    assert listed(server.url, "newcomer") == sorted(built(project))
    assert stored(packages) == built(project)


@every_uploader
def test_upload_to_bare_origin(
    name: str,
    upload: Upload,
    client: GetClient,
    serve: Serve,
    packages: Path,
    password_file: Path,
    tmp_path: Path,
) -> None:
    server = serve("-P", password_file)
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = upload(client(name), project, server.url, PASSWORD)
    assert status == 0, output
    assert stored(packages) == built(project)


@every_uploader
def test_wrong_password_is_refused_and_leaves_nothing(
    name: str,
    upload: Upload,
    client: GetClient,
    serve: Serve,
    packages: Path,
    password_file: Path,
    tmp_path: Path,
) -> None:
    server = serve("-P", password_file)
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = upload(client(name), project, f"{server.url}/", "wrong")
    assert status != 0, output
    assert list(packages.iterdir()) == []


@pytest.mark.parametrize(("name", "upload"), [UPLOADS["twine 7"], UPLOADS["uv"], UPLOADS["flit"], UPLOADS["curl"]])
def test_upload_of_the_same_bytes_again_succeeds(
    name: str,
    upload: Upload,
    client: GetClient,
    serve: Serve,
    packages: Path,
    password_file: Path,
    tmp_path: Path,
) -> None:
    server = serve("-P", password_file)
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    tool = client(name)
    assert upload(tool, project, f"{server.url}/", PASSWORD)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in packages.iterdir()}
    status, output = upload(tool, project, f"{server.url}/", PASSWORD)
    assert status == 0, output
    assert {path: path.stat().st_mtime_ns for path in packages.iterdir()} == before


@every_uploader
def test_other_bytes_under_the_same_name_are_refused(
    name: str,
    upload: Upload,
    client: GetClient,
    serve: Serve,
    packages: Path,
    password_file: Path,
    tmp_path: Path,
) -> None:
    """Hatch skips what is listed already, so it alone calls this a success; no one changes the file."""
    server = serve("-P", password_file)
    add_sdist(packages, "newcomer", "1.0", needs=["what was here before"])
    # Made as WHEEL and renamed, so WHEEL comes last.
    for filename in ("newcomer-1.0-py3-none-any.whl", WHEEL):
        add_wheel(packages, "newcomer", "1.0", summary="was here before").rename(packages / filename)
    before = stored(packages)
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = upload(client(name), project, f"{server.url}/", PASSWORD)
    assert (status != 0) is (name != "hatch"), output
    assert stored(packages) == before


@pytest.mark.parametrize(("name", "upload", "option"), SKIPPING.values(), ids=SKIPPING)
def test_skip_existing_skips_other_bytes_and_uploads_the_rest(
    name: str,
    upload: Callable[..., tuple[int, str]],
    option: str,
    client: GetClient,
    serve: Serve,
    packages: Path,
    password_file: Path,
    tmp_path: Path,
) -> None:
    server = serve("-P", password_file)
    present = add_wheel(packages, "newcomer", "1.0", summary="was here before").read_bytes()
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = upload(client(name), project, f"{server.url}/", PASSWORD, option)
    assert status == 0, output
    assert stored(packages) == {WHEEL: present, SDIST: (project / "dist" / SDIST).read_bytes()}


def test_uv_check_url_skips_what_is_there(
    client: GetClient, serve: Serve, record: Record, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    (packages / WHEEL).write_bytes((project / "dist" / WHEEL).read_bytes())
    recorder = record(serve("-P", password_file))
    status, output = uv(client("uv"), project, f"{recorder.url}/", PASSWORD, "--check-url", f"{recorder.url}/+simple/")
    assert status == 0, output
    assert stored(packages) == built(project)
    assert recorder.counts()["POST"] == 1


@pytest.mark.parametrize("name", ["uv", "uv index", "hatch"])
def test_a_name_that_the_fallback_has_too_is_published_here(
    name: str, client: GetClient, stack: ExitStack, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    """Whoever asks at ``/simple/`` what is published is sent to the other index; at ``/+simple/`` no one is.

    hatch asks there by itself.
    """
    with serving(FakeIndex()) as public:
        # Other bytes of the same names.
        public.add("newcomer", WHEEL, SDIST)
        flags = ("--fallback-url", public.url, "-P", password_file)
        command = pypi_server(*flags, packages)
        server = stack.enter_context(running(command, environ=server_environ(tmp_path / "server"), cwd=tmp_path))
        project = add_project(tmp_path / "project", "newcomer", "1.0")
        tool = client(name.partition(" ")[0])
        if name == "uv":
            status, output = uv(tool, project, f"{server.url}/", PASSWORD, "--check-url", f"{server.url}/+simple/")
        elif name == "uv index":
            (project / "uv.toml").write_text(
                f'[[index]]\nname = "ours"\nurl = "{server.url}/+simple/"\npublish-url = "{server.url}/"\n'
                "explicit = true\n"
            )
            login = ("-u", USER, "-p", PASSWORD, "--config-file", "uv.toml")
            status, output = said(tool, project, *UV, "--index", "ours", *login, *dist(project), UV_NO_CONFIG="0")
        else:
            status, output = hatch(tool, project, f"{server.url}/", PASSWORD)
        assert status == 0, output
        assert stored(packages) == built(project), output
        assert public.seen == []


def test_overwriting_when_the_server_allows_it(
    client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    server = serve("-o", "-P", password_file)
    add_wheel(packages, "newcomer", "1.0", summary="was here before")
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = twine(client("twine"), project, f"{server.url}/", PASSWORD)
    assert status == 0, output
    assert stored(packages) == built(project)


@pytest.mark.parametrize("name", ["twine", "twine3"])
def test_signature_is_stored_next_to_its_file(
    name: str, client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    server = serve("-P", password_file)
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    signature = b"-----BEGIN PGP SIGNATURE-----\n\nnot checked by anybody\n-----END PGP SIGNATURE-----\n"
    (project / "dist" / f"{SDIST}.asc").write_bytes(signature)
    status, output = twine(client(name), project, f"{server.url}/", PASSWORD)
    assert status == 0, output
    assert stored(packages) == built(project)
    assert get(f"{server.url}/packages/{SDIST}.asc") == signature
    assert listed(server.url, "newcomer") == [WHEEL, SDIST]


def test_refusal_shows_its_reason(
    client: GetClient, serve: Serve, record: Record, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    """A wheel that says it is another project: the client shows a sentence naming the file, and does not try again."""
    recorder = record(serve("-P", password_file))
    project = tmp_path / "project"
    (project / "dist").mkdir(parents=True)
    wheel = add_wheel(project / "dist", "newcomer", "1.0")
    wheel.rename(wheel.with_name("newcomer-2.0-py2.py3-none-any.whl"))
    status, output = uv(client("uv"), project, f"{recorder.url}/", PASSWORD)
    assert status != 0
    if recorder.requests:
        assert "newcomer-2.0-py2.py3-none-any.whl" in output
        assert [request.status // 100 for request in recorder.requests] == [4]
    assert list(packages.iterdir()) == []


def test_a_name_that_aiohttp_encodes_arrives_as_it_was(
    client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    server = serve("-P", password_file)
    project = add_project(tmp_path / "project", "newcomer", "1!1.0+local.1")
    status, output = aiohttp(client("aiohttp"), project, f"{server.url}/", PASSWORD)
    assert status == 0, output
    assert stored(packages) == built(project)
    assert any("!" in name and "+" in name for name in stored(packages))


@pytest.mark.parametrize("server_name", ["granian", "waitress"])
def test_documentation_is_refused_and_packages_are_not(
    server_name: str, client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    """`upload_docs` prints the reason phrase, for which granian has the standard words only."""
    server = serve("-P", password_file, "--server", server_name)
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    tool = client("pip9")
    assert setup_py(tool, project, server.url, PASSWORD)[0] == 0
    output = setup_py_docs(tool, project)[1]
    assert "Upload failed (400)" in output
    assert ("Documentation is not stored here" in output) is (server_name == "waitress")
    assert stored(packages) == built(project)


@pytest.mark.parametrize("server_name", ["granian", "waitress", "gunicorn"])
def test_a_wrong_password_is_told_before_the_body(
    server_name: str, client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    server = serve("-P", password_file, "--server", server_name)
    wheel = add_wheel(tmp_path, "newcomer", "1.0", ballast=3_000_000)
    form = ("-H", "Expect: 100-continue", "-F", f"content=@{wheel}", "-w", "%{http_code} %{size_upload}")
    tool = client("uv")
    done = tool.run("curl", "-sS", "-o", "/dev/null", "-u", f"{USER}:wrong", *form, server.url)
    assert done.stdout.split() == ["401", "0"]
    assert stored(packages) == {}
    # Whoever may upload is let send it, and is heard.
    done = tool.run("curl", "-sS", "-o", "/dev/null", "-u", f"{USER}:{PASSWORD}", *form, server.url)
    assert done.stdout.split()[0] == "200" and list(stored(packages)) == [wheel.name]


def test_upload_to_the_address_of_searches_fails(
    client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    server = serve("-P", password_file)
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = twine(client("twine"), project, f"{server.url}/RPC2", PASSWORD)
    assert (status != 0, stored(packages)) == (True, {}), output


def test_everything_open_needs_no_password(client: GetClient, serve: Serve, packages: Path, tmp_path: Path) -> None:
    server = serve("-P", ".", "-a", ".")
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    status, output = twine(client("twine"), project, f"{server.url}/", "bogus")
    assert status == 0, output
    assert stored(packages) == built(project)


@pytest.mark.parametrize("name", ["pip", "pip20", "pip9", "uv"])
def test_protected_folder_is_installed_from_with_credentials_in_the_url(
    name: str, client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    fill(packages)
    server = serve("-P", password_file, "-a", "update,download,list")
    # pip 9 takes what is in a URL as it is there.
    login = f"{USER}:{PASSWORD if name == 'pip9' else urllib.parse.quote(PASSWORD, safe='')}"
    index = server.url.replace("://", f"://{login}@") + "/simple/"
    tool = client(name)
    tool.run(*tool.installer, "--target", tmp_path / "site", "--index-url", index, "demo")
    refused = tool.run(
        *tool.installer, "--target", tmp_path / "other", "--index-url", f"{server.url}/simple/", "demo", status=None
    )
    assert refused.returncode != 0
    assert sorted(path.stem for path in (tmp_path / "site").glob("*.py")) == sorted(
        project.replace("-", "_") for project in SHELF
    )
