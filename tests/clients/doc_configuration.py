"""Configuration that the documentation shows for other programs, given to the program that reads it.

Pieces of a file go where the page says they belong: in a server of nginx, or at the top level of Apache.

Invariants: nothing is started; paths and accounts that this machine has not are the only words that change.
"""

from __future__ import annotations

import os
import plistlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.certificates import make_certificate
from tests.cluster.process import program

NGINX = """
pid {folder}/pid;
error_log stderr warn;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {whole}
}}
"""
UPSTREAM = "upstream pypi {{ server 127.0.0.1:8080; }}\nserver {{ listen 127.0.0.1:8081; {piece} }}\n"
ZONE = "proxy_cache_path {folder}/cache keys_zone=pypiserver_cache:1m;\n"
MODULES = (
    "mpm_event",
    "authz_core",
    "alias",
    "headers",
    "proxy",
    "proxy_http",
    "cache",
    "cache_disk",
    "wsgi",
    "xsendfile",
)


def nginx(text: str, folder: Path) -> None:
    """A whole server, a zone for a cache, or what belongs into a server."""
    certificate = make_certificate(folder)
    whole = text if re.match("upstream|server|proxy_cache_path", text) else UPSTREAM.format(piece=text)
    if "pypiserver_cache;" in whole:
        whole = ZONE.format(folder=folder) + whole
    whole = re.sub(r"/etc/ssl/\S+\.crt", str(certificate.chain), whole)
    whole = re.sub(r"/etc/ssl/\S+\.key", str(certificate.key), whole)
    whole = whole.replace("/var/cache/", f"{folder}/")
    written = folder / "nginx.conf"
    written.write_text(NGINX.format(folder=folder, whole=whole))
    accepted(program("nginx", "nginx-light"), "-t", "-q", "-p", folder, "-e", "stderr", "-c", written)


def apache(text: str, folder: Path) -> None:
    modules = Path("/usr/lib/apache2/modules")
    loaded = "".join(f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in MODULES)
    for needed in ("srv/pypiserver/wsgi", "logs"):
        (folder / needed).mkdir(parents=True)
    text = text.replace("/srv/", f"{folder}/srv/").replace("=pypisrv ", "=www-data ")
    written = folder / "apache.conf"
    written.write_text(f'ServerRoot "{folder}"\nServerName localhost\nListen 127.0.0.1:8081\n{loaded}{text}\n')
    accepted(program("apache2", "apache2"), "-t", "-f", written)


def unit(text: str, folder: Path) -> None:
    written = folder / "pypiserver.service"
    written.write_text(text.replace("/opt/pypiserver/bin/pypi-server", "/bin/true"))
    accepted(program("systemd-analyze", "systemd"), "verify", "--man=no", written)


def plist(text: str, folder: Path) -> None:
    assert {"Label", "ProgramArguments"} <= plistlib.loads(text.encode()).keys()


def accepted(*command: str | Path) -> None:
    """The program takes it, and has nothing to say about it."""
    environ = {**os.environ, "LANG": "C.UTF-8"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, env=environ)
    told = [line for line in (done.stdout + done.stderr).splitlines() if line != "Syntax OK"]
    assert (done.returncode, told) == (0, []), f"{command[0]} ended with {done.returncode}: {told}"


READERS: dict[str, Callable[[str, Path], None]] = {"nginx": nginx, "apache": apache, "unit": unit, "plist": plist}
