"""Every client that uploads, as one table: how each is told the project, the URL and the password."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.clients.harness import USER, Client

TWINE = ("twine", "upload", "--non-interactive", "--disable-progress-bar")
UV = ("uv", "publish", "--trusted-publishing", "never")

# Takes a client, the project's folder, the URL to post to, and a password; returns exit status and output.
Upload = Callable[[Client, Path, str, str], "tuple[int, str]"]


def said(client: Client, project: Path, *command: str | Path, **environ: str) -> tuple[int, str]:
    done = client.run(*command, cwd=project, status=None, **environ)
    return done.returncode, done.stdout


def dist(project: Path) -> list[Path]:
    return sorted(path for path in (project / "dist").iterdir() if path.suffix != ".asc")


def twine(client: Client, project: Path, url: str, password: str, *options: str) -> tuple[int, str]:
    signatures = sorted((project / "dist").glob("*.asc"))
    login = ("--repository-url", url, "-u", USER, "-p", password)
    return said(client, project, *TWINE, *login, *options, *dist(project), *signatures)


def uv(client: Client, project: Path, url: str, password: str, *options: str) -> tuple[int, str]:
    login = ("--publish-url", url, "-u", USER, "-p", password)
    return said(client, project, *UV, *login, *options, *dist(project))


def poetry(client: Client, project: Path, url: str, password: str, *options: str) -> tuple[int, str]:
    login = ("-r", "local", "-u", USER, "-p", password)
    return said(client, project, "poetry", "publish", *login, *options, POETRY_REPOSITORIES_LOCAL_URL=url)


def pdm(client: Client, project: Path, url: str, password: str, *options: str) -> tuple[int, str]:
    return said(client, project, "pdm", "publish", "--no-build", "-r", url, "-u", USER, "-P", password, *options)


def hatch(client: Client, project: Path, url: str, password: str) -> tuple[int, str]:
    return said(client, project, "hatch", "publish", "-n", "-r", url, "-u", USER, "-a", password, *dist(project))


def flit(client: Client, project: Path, url: str, password: str) -> tuple[int, str]:
    """It builds what it uploads, and leaves alone what others built."""
    shutil.rmtree(project / "dist")
    login = {"FLIT_INDEX_URL": url, "FLIT_USERNAME": USER, "FLIT_PASSWORD": password}
    return said(client, project, "flit", "publish", **login)


FLIT_2 = (
    '[build-system]\nrequires = ["flit_core>=2,<4"]\nbuild-backend = "flit_core.buildapi"\n\n'
    '[tool.flit.metadata]\nmodule = "{}"\nauthor = "A"\nauthor-email = "a@samples.example"\n'
)


def flit_2(client: Client, project: Path, url: str, password: str) -> tuple[int, str]:
    """As `flit`, with the metadata that it knew before there was a standard for them."""
    (module,) = [path.stem for path in project.glob("*.py") if path.name != "setup.py"]
    (project / "pyproject.toml").write_text(FLIT_2.format(module))
    return flit(client, project, url, password)


def maturin(client: Client, project: Path, url: str, password: str) -> tuple[int, str]:
    login = ("--non-interactive", "--repository-url", url, "-u", USER, "-p", password)
    return said(client, project, "maturin", "upload", *login, *dist(project))


def setup_py(client: Client, project: Path, url: str, password: str) -> tuple[int, str]:
    """`register` and `upload` as setuptools brings them up to 74, with the file that holds their settings."""
    (client.home).mkdir(exist_ok=True)
    (client.home / ".pypirc").write_text(
        f"[distutils]\nindex-servers = local\n\n[local]\nrepository: {url}\nusername: {USER}\npassword: {password}\n"
    )
    commands = ("sdist", "bdist_wheel", "--universal", "register", "-r", "local", "upload", "-r", "local")
    return said(client, project, "python", "setup.py", *commands)


def setup_py_docs(client: Client, project: Path) -> tuple[int, str]:
    """`upload_docs` of the same setuptools; the settings are those that `setup_py` wrote."""
    (project / "docs").mkdir()
    (project / "docs" / "index.html").write_text("<p>Read me.")
    return said(client, project, "python", "setup.py", "upload_docs", "--upload-dir=docs", "-r", "local")


def curl(client: Client, project: Path, url: str, password: str, *options: str) -> tuple[int, str]:
    status, output = 0, ""
    for path in dist(project):
        form = ("-F", ":action=file_upload", "-F", f"content=@{path}")
        one, text = said(
            client, project, "curl", "-sS", "--fail-with-body", *options, "-u", f"{USER}:{password}", *form, url
        )
        status, output = status or one, output + text
    return status, output


def curl_that_follows(client: Client, project: Path, url: str, password: str) -> tuple[int, str]:
    return curl(client, project, url, password, "-L")


AIOHTTP = """
import asyncio, pathlib, sys
import aiohttp

async def upload(url, user, password, *paths):
    async with aiohttp.ClientSession(auth=aiohttp.BasicAuth(user, password)) as session:
        for path in map(pathlib.Path, paths):
            form = aiohttp.FormData()
            form.add_field(":action", "file_upload")
            form.add_field("content", path.read_bytes(), filename=path.name)
            async with session.post(url, data=form) as answer:
                print(answer.status, await answer.text())
                answer.raise_for_status()

asyncio.run(upload(*sys.argv[1:]))
"""


def aiohttp(client: Client, project: Path, url: str, password: str) -> tuple[int, str]:
    """A program of someone's own; aiohttp percent-encodes the names of fields and files."""
    return said(client, project, "python", "-c", AIOHTTP, url, USER, password, *dist(project))


UPLOADS: dict[str, tuple[str, Upload]] = {
    "twine 7": ("twine", twine),
    "twine 3": ("twine3", twine),
    "uv": ("uv", uv),
    "poetry": ("poetry", poetry),
    "pdm": ("pdm", pdm),
    "hatch": ("hatch", hatch),
    "flit": ("flit", flit),
    "flit 3": ("flit3", flit),
    "flit 2": ("flit2", flit_2),
    "maturin": ("maturin", maturin),
    "setup.py": ("pip9", setup_py),
    "setup.py of setuptools 57": ("setuptools57", setup_py),
    "setup.py of setuptools 71": ("setuptools71", setup_py),
    "curl": ("uv", curl),
    "aiohttp": ("aiohttp", aiohttp),
}
# Those that take whatever comes after a redirect for their answer, or did so once.
FOLLOWING = {name: UPLOADS[name] for name in ("flit", "flit 3", "flit 2", "maturin", "setup.py")} | {
    "curl -L": ("uv", curl_that_follows)
}
# (client, upload, option that skips what is there already)
SKIPPING = {
    "twine 3": ("twine3", twine, "--skip-existing"),
    "poetry": ("poetry", poetry, "--skip-existing"),
    "pdm": ("pdm", pdm, "--skip-existing"),
}


def stored(packages: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in packages.iterdir() if not path.name.startswith(".")}


def built(project: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project / "dist").iterdir()}
