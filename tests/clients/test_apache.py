"""Apache with mod_wsgi as Debian starts it (``LANG=C``), configured as documented, and as people had it before."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.harness import GetClient
from tests.cluster.process import own_folder, program, refuse, started
from tests.cluster.services import APACHE_PACKAGE, Front, accepts
from tests.hostile import ask, eventually, listed, sha256, wheel
from tests.make_archives import make_sdist
from tests.ports import free_ports

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "wsgi-servers.rst"
MODULES = Path("/usr/lib/apache2/modules")
NEEDED = ("pypiserver", "bottle", "packaging", "passlib", "bcrypt", "watchdog", "pip")
USER = "www-data"
CONFIGURATION = """
ServerRoot "{folder}"
PidFile "{folder}/pid"
ErrorLog "/dev/stderr"
ServerName localhost
Listen 127.0.0.1:{port}
User {user}
Group {user}
{modules}
WSGISocketPrefix {folder}/wsgi
"""
LOCALE = "lang=C.UTF-8 locale=C.UTF-8"


def documented(folder: Path) -> str:
    """The configuration of the page, for our folder, user and Python."""
    (block,) = re.findall(r"( *WSGIScriptAlias   /  .*?</Directory>)", PAGE.read_text("utf-8"), re.DOTALL)
    block = block.replace("user=pypisrv group=pypisrv", f"user={USER} group={USER}")
    # The environment of the tests is not one that another user can read.
    block = block.replace("python-home=/srv/pypiserver/venv", f"python-path={folder}/modules")
    return block.replace("/srv/pypiserver", str(folder))


@contextmanager
def apache(*, locale: str) -> Iterator[tuple[Front, Path]]:
    """Apache with the application inside, and the folder it serves."""
    command = program("apache2", APACHE_PACKAGE)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not (MODULES / f"mod_wsgi.so-{version}").exists():
        refuse(f"mod_wsgi for Python {version} is not installed (apt-get install libapache2-mod-wsgi-py3)")
    if os.getuid() != 0:
        pytest.skip("only root can start Apache for another user")
    with own_folder("apache", USER) as folder:
        packages = folder / "packages"
        (folder / "wsgi").mkdir()
        (folder / "modules").mkdir()
        os.mkdir(os.fsencode(packages))
        os.mkdir(os.fsencode(packages) + "/café".encode())
        shutil.chown(packages, USER)
        for name in NEEDED:
            source = Path(str(importlib.import_module(name).__file__))
            if source.name == "__init__.py":
                shutil.copytree(source.parent, folder / "modules" / name)
            else:
                shutil.copy(source, folder / "modules" / source.name)
        (folder / "htpasswd").write_text("", "utf-8")
        script = f'application = pypiserver.app(root="{packages}", password_file=".", authenticate=".")\n'
        (folder / "wsgi" / "pypiserver-wsgi.py").write_text(f"import pypiserver\n\n{script}", "utf-8")
        (port,) = free_ports(1)
        loaded = "\n".join(
            f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in ("mpm_event", "authz_core", "wsgi")
        )
        whole = CONFIGURATION.format(folder=folder, port=port, user=USER, modules=loaded) + documented(folder)
        assert LOCALE in whole
        (folder / "apache.conf").write_text(whole.replace(LOCALE, locale), "utf-8")
        start = f". /etc/apache2/envvars; exec {command} -DFOREGROUND -f {folder}/apache.conf"
        front = Front(
            "apache", ["sh", "-c", start], folder, lambda: accepts(port), stop_signal=signal.SIGTERM, port=port
        )
        with started(front):
            yield front, packages


@pytest.mark.parametrize("locale", [LOCALE, ""], ids=["documented", "of Debian"])
def test_names_that_are_not_ascii_are_served_and_stored_whatever_the_locale(
    locale: str, client: GetClient, tmp_path: Path
) -> None:
    with apache(locale=locale) as (front, packages):
        url = f"http://127.0.0.1:{front.port}"
        name, data = wheel("foo")
        Path(os.fsdecode(os.fsencode(packages) + "/café/".encode()) + name).write_bytes(data)
        eventually(lambda: listed(url, "foo") == {name: sha256(data)})
        assert ask(url, f"/packages/caf%C3%A9/{name}").body == data
        assert ask(url, "/simple/unknown/").status == 302
        # As Django 1.11 and Sphinx 1.8 have it.
        sdist, sdist_data = make_sdist("demo", "1.0", extra_members={"demo-1.0/tests/⊗.txt": b"x"})
        (tmp_path / sdist).write_bytes(sdist_data)
        client("twine").run("twine", "upload", "--repository-url", f"{url}/", "-u", "a", "-p", "b", tmp_path / sdist)
        assert (packages / sdist).read_bytes() == sdist_data
        assert listed(url, "demo") == {sdist: sha256(sdist_data)}
        log = (front.folder / "apache.log").read_text("utf-8", "replace")
        assert ("Python reads the names of files as ascii" in log) == (not locale)
