"""Ready files for the settings that are given: a systemd unit, an nginx configuration, a compose file.

Pure: they get settings and return text. The rules to keep: only what was given stands in them, so defaults of a later
version apply; a value is quoted by the rules of the file it stands in; every path is absolute.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..settings.config import OPEN_TO_ALL, SETTINGS, Config
from ..settings.sources import Given
from ..text import printable
from .show_config import plain

WRITTEN = ("log_file", "audit_log", "stats", "catalog")
READ = ("password_file", "private_file", "welcome", "certificate", "key", "log_conf")
_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - compared with
# Uploads that run have eight seconds to end; systemd must not be less patient.
STOP_SECONDS = 30
# It needs no privilege, no kernel interface, and no socket but those of the network.
_SANDBOX = (
    "PrivateDevices=true",
    "NoNewPrivileges=true",
    "RestrictSUIDSGID=true",
    "RestrictNamespaces=true",
    "RestrictRealtime=true",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "LockPersonality=true",
    "ProtectClock=true",
    "ProtectHostname=true",
    "ProtectKernelLogs=true",
    "ProtectKernelModules=true",
    "ProtectKernelTunables=true",
    "ProtectControlGroups=true",
    "ProtectProc=invisible",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
)
_EVERY_INTERFACE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def render(kind: str, config: Config, given: Mapping[str, Given]) -> str:
    """The file of that kind: systemd, nginx or compose."""
    return RECIPES[kind](config, given)


def words_of(config: Config, given: Iterable[str], *, paths: Mapping[str, str] | None = None) -> list[str]:
    """The flags that mean these settings; ``paths`` are other paths for some of them. Folders are left out."""
    words: list[str] = []
    for name in given:
        setting, value = SETTINGS[name], getattr(config, name)
        if name == "roots" or not setting.flags:
            continue
        flag = next((each for each in reversed(setting.flags) if each.startswith("--")), setting.flags[-1])
        if setting.action in ("switch", "off"):
            words += [flag] if bool(value) == (setting.action == "switch") else []
        elif setting.action == "count":
            words += [flag] * value
        elif value == () and name in ("trusted_proxy", "forwarded_headers"):
            words += [flag, "none"]
        elif value is None:
            words += [flag, "off"] if name == "hash_algo" else []
        else:
            shown = (paths or {}).get(name) or _absolute(name, value)
            words += [flag, shown if isinstance(shown, str) else _written(shown)]
    return words


def _command_line(config: Config, given: Mapping[str, Given], *, without: Iterable[str] = ()) -> list[str]:
    """The arguments that mean these settings; what stands in a configuration file stays there, to be read again."""
    file = next((each.source for each in given.values() if each.source), "")
    here = [name for name, each in given.items() if not each.source and name not in without]
    words = ["--config", os.path.abspath(file)] if file else []  # noqa: PTH100 - resolve() would follow links
    is_elsewhere = "roots" in given and given["roots"].source
    return words + words_of(config, here) + ([] if is_elsewhere else _roots(config))


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return (",".join(map(str, value)) or ".") if isinstance(value, list) else str(value)


def _absolute(name: str, value: Any) -> Any:
    if isinstance(value, Path) and (name != "password_file" or value != OPEN_TO_ALL):
        return os.path.abspath(value)  # noqa: PTH100 - resolve() would follow links
    return plain(value)


def _roots(config: Config) -> list[str]:
    return [os.path.abspath(root) for root in config.roots]  # noqa: PTH100


def _files(config: Config, names: Iterable[str]) -> dict[str, str]:
    """Absolute paths of the files that are given, by setting."""
    values = {name: getattr(config, name) for name in names}
    return {
        name: str(_absolute(name, value))
        for name, value in values.items()
        if isinstance(value, Path) and value != OPEN_TO_ALL
    }


def systemd(config: Config, given: Mapping[str, Given]) -> str:
    """A unit that runs the server as the user ``pypiserver``, with no more rights than it needs."""
    program = shutil.which("pypi-server", path=str(Path(sys.executable).parent))
    command = [program] if program else [sys.executable, "-m", "pypiserver"]
    roots, written = _roots(config), _files(config, WRITTEN)
    folders = sorted({*roots, *(str(Path(path).parent) for path in written.values())})
    words = [*command, *_command_line(config, given)]
    known = [*folders, *_files(config, READ).values(), *words, sys.prefix]
    lines = [
        "# Save as /etc/systemd/system/pypiserver.service, then:",
        "#   systemctl daemon-reload && systemctl enable --now pypiserver",
        "[Unit]",
        "Description=Python package index",
        "After=network.target",
        "",
        "[Service]",
        "User=pypiserver",
        "Group=pypiserver",
        "ExecStart=" + " ".join(map(_systemd_word, words)),
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=always",
        "RestartSec=5",
        "KillMode=mixed",
        f"TimeoutStopSec={STOP_SECONDS + config.drain_seconds}",
        "LimitNOFILE=16384",
        *_umask(config),
    ]
    if "catalog" not in given:
        lines += ["CacheDirectory=pypiserver", "CacheDirectoryMode=0750"]
        lines += ["Environment=PYPISERVER_CATALOG=/var/cache/pypiserver/catalog.sqlite"]
    lines += ["ProtectSystem=strict"]
    lines += [] if _is_below(known, _HOMES) else ["ProtectHome=true"]
    lines += [] if _is_below(known, _TEMPORARY) else ["PrivateTmp=true"]
    lines += [f"ReadWritePaths={_systemd_quoted(folder.replace('%', '%%'))}" for folder in folders]
    port = "CAP_NET_BIND_SERVICE" if config.port < 1024 else ""
    lines += [f"AmbientCapabilities={port}"] if port else []
    lines += [f"CapabilityBoundingSet={port}", *_SANDBOX]
    return "\n".join([*lines, "", "[Install]", "WantedBy=multi-user.target"]) + "\n"


def _umask(config: Config) -> list[str]:
    """Who may read what is uploaded: the proxy must where it sends the files itself, as another user."""
    if config.accel == "off":
        return ["UMask=0027"]
    return [
        "# The proxy's user reads the packages. Where others must not: UMask=0027, and folders of the proxy's",
        "# group whose files get it, too: chgrp www-data /srv/packages && chmod 2750 /srv/packages",
        "UMask=0022",
    ]


def _systemd_word(word: str) -> str:
    """One word of a command line, by the rules of systemd.service(5)."""
    return _systemd_quoted(word.replace("%", "%%").replace("$", "$$"))


def _systemd_quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return escaped if re.fullmatch(r"[\w@%+=:,./$-]+", escaped) else f'"{escaped}"'


def _is_below(paths: Iterable[str], folders: Iterable[str]) -> bool:
    return any(path.startswith(tuple(f"{folder}/" for folder in folders)) for path in paths)


def nginx(config: Config, given: Mapping[str, Given]) -> str:
    """A server block in front of the index, below the prefix of ``--server-base-url`` if it has one.

    nginx sends package files itself (``--accel nginx``). It keeps pages, too, unless they need a password.
    """
    base = urlsplit(config.root_url or f"http://pypi.example{config.root_path}")
    listening = _listening(base.scheme, str(base.hostname), base.port)
    prefix = base.path.rstrip("/")
    if not re.fullmatch(r"[\w/.~-]*", prefix) or not re.fullmatch(r"[\w.:-]+", str(base.hostname)):
        raise ConfigError(
            f"--server-base-url {config.server_base_url}: it has characters that nginx would misread.",
            kind="value",
            setting="server_base_url",
            value=config.server_base_url,
        )
    host = "127.0.0.1" if config.host in _EVERY_INTERFACE else config.host
    address = f"[{host}]:{config.port}" if ":" in host else f"{host}:{config.port}"
    is_open = "list" not in config.authenticate
    # What nginx answers alone, nobody counts.
    keeps_files = is_open and "download" not in config.authenticate and config.stats is None
    upstream = f"{'https' if config.certificate else 'http'}://pypiserver"
    inside = [_internal(root, config.accel_location) for root in _roots(config)]
    words = ["pypi-server", "-i", host, "--accel", "nginx", *_command_line(config, given, without=("host", "accel"))]
    return (
        "# Save as /etc/nginx/conf.d/pypiserver.conf. Let nobody go around nginx, and let it read the packages:\n"
        f"#   {printable(shlex.join(words))}\n"
        "# nginx runs as another user (www-data, nginx): what is uploaded must be readable for it (umask 0022), as in\n"
        "# the unit that pypi-server systemd prints for the command above.\n"
        + (_NGINX_CACHE if is_open else "")
        + _NGINX_SERVER.format(
            address=address,
            name=base.hostname,
            listening=listening,
            # --max-upload-size, and room for the rest of the form.
            megabytes=(config.max_upload_size >> 20) + 33,
            location=f"{prefix}/",
            upstream=upstream,
        )
        + (_NGINX_EXACT.format(location=prefix, upstream=upstream) if prefix else "")
        + (_NGINX_PAGES.format(location=f"{prefix}/simple", upstream=upstream) if is_open else "")
        + (_NGINX_SMALL.format(location=f"{prefix}/packages", upstream=upstream) if keeps_files else "")
        + "".join(inside)
        + "}\n"
        + (_NGINX_REDIRECT.format(name=base.hostname) if base.scheme == "https" and base.port in (None, 443) else "")
    )


def _listening(scheme: str, name: str, port: int | None) -> str:
    """The lines that say where nginx listens: at the port of the address that clients use."""
    if scheme != "https":
        return f"    listen {port or 80};"
    return _NGINX_TLS.format(port=port or 443, name=name)


def _internal(root: str, location: str) -> str:
    """The location in which nginx finds the files of a folder, and which nobody can ask for."""
    if "$" in root or root != printable(root):
        raise ConfigError(
            f"The folder {printable(root)!r} has characters in its path that nginx would misread.",
            kind="value",
            setting="roots",
            value=root,
        )
    return _NGINX_FILES.format(
        location=_nginx_quoted(f"{location.rstrip('/')}{root}/"),
        folder=_nginx_quoted(f"{root}/"),
    )


def _nginx_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_NGINX_CACHE = """
proxy_cache_path /var/cache/nginx-pypiserver levels=1:2 keys_zone=pypiserver:10m max_size=1g inactive=1d
                 use_temp_path=off;
"""
_NGINX_TLS = """\
    listen {port} ssl;
    ssl_certificate /etc/ssl/{name}.crt;
    ssl_certificate_key /etc/ssl/private/{name}.key;
    ssl_protocols TLSv1.2 TLSv1.3;"""
_NGINX_REDIRECT = """
# Browsers find the way. Clients should be given the https address: a password is sent before they learn of it here.
server {{
    listen 80;
    server_name {name};
    return 308 https://$host$request_uri;
}}
"""
_NGINX_SERVER = """
upstream pypiserver {{
    server {address} fail_timeout=0;
    keepalive 16;
}}

server {{
{listening}
    server_name {name};

    client_max_body_size {megabytes}m;
    client_body_timeout 60s;

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    # All of them, in this place only: nginx passes on what a client sends and it does not set itself.
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Host "";
    proxy_set_header X-Forwarded-Prefix "";
    proxy_set_header Forwarded "";
    proxy_read_timeout 300s;

    location {location} {{
        proxy_pass {upstream};
    }}
"""
_NGINX_EXACT = """
    # Without the slash, too: nginx itself would answer 301, and an upload that follows it becomes a GET without a body.
    location = {location} {{
        proxy_pass {upstream};
    }}
"""
_NGINX_PAGES = """
    # A page is kept for a second; then the server is asked whether it changed (by ETag). Without this location an
    # upload shows at once.
    location {location}/ {{
        proxy_pass {upstream};
        proxy_cache pypiserver;
        proxy_cache_key $scheme$http_host$request_uri;
        proxy_ignore_headers Cache-Control;
        proxy_cache_valid 200 1s;
        proxy_cache_revalidate on;
        proxy_cache_lock on;
        open_file_cache max=10000;
    }}
    # nginx itself would answer 301, and an upload that follows it becomes a GET without a body.
    location = {location} {{
        proxy_pass {upstream};
    }}
"""
_NGINX_SMALL = """
    # So are files up to 64 KiB, and metadata: a file can change, too. Larger files are sent from where they are.
    location {location}/ {{
        proxy_pass {upstream};
        proxy_cache pypiserver;
        proxy_cache_key $scheme$http_host$request_uri;
        proxy_ignore_headers Cache-Control;
        proxy_cache_valid 200 1s;
        proxy_cache_revalidate on;
        open_file_cache max=10000;
    }}
    location = {location} {{
        proxy_pass {upstream};
    }}
"""
_NGINX_FILES = """
    # The server says which file, after it has looked who may have it.
    location {location} {{
        internal;
        alias {folder};
        sendfile on;
        # The server's ETag is the sha256 of the file; nginx would make one of its time and size.
        etag off;
        if_modified_since off;
        add_header ETag $upstream_http_etag;
        if ($http_if_none_match = $upstream_http_etag) {{
            return 304;
        }}
        add_header X-Content-Type-Options nosniff;
        add_header Access-Control-Allow-Origin $upstream_http_access_control_allow_origin;
    }}
"""


_EVERYBODYS = ("/var/log", "/var/lib", "/var/cache", "/var/tmp", "/etc/ssl", "/usr/local", "/run/user")  # noqa: S108
# What is set where compose runs, and goes on to the server.
_OF_THE_STORE = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL")


def compose(config: Config, given: Mapping[str, Given]) -> str:
    """A compose file for the image, with a volume for every folder and file that is named.

    What is read is mounted by itself, since the folder around it may be a home. What is written needs the folder, as
    files beside it come and go; it must be one of its own.
    """
    volumes, inside = [], {}
    for number, root in enumerate(_roots(config)):
        volumes.append(f"{root}:/data/packages{number + 1 if number else ''}")
    for name, path in _files(config, (*WRITTEN, *READ)).items():
        inside[name] = f"/data/{name}/{Path(path).name}"
        if name in READ:
            volumes.append(f"{path}:{inside[name]}:ro")
        elif _is_shared(Path(path).parent):
            raise ConfigError(
                f"{SETTINGS[name].flags[-1]}: the container would get all of {Path(path).parent}; name a file in a "
                "folder of its own.",
                kind="contradiction",
                setting=name,
                value=path,
            )
        else:
            volumes.append(f"{Path(path).parent}:/data/{name}")
    roots = [volume.rpartition(":")[2].removeprefix("/data/") for volume in volumes[: len(config.roots)]]
    has_files = any(name in READ for name in inside)
    words = words_of(config, [name for name in given if name not in ("host", "port")], paths=inside)
    port = f"{config.port}:8080"
    if config.host not in _EVERY_INTERFACE:
        port = (f"[{config.host}]:" if ":" in config.host else f"{config.host}:") + port
    lines = [
        "# docker compose up -d",
        "services:",
        "  pypiserver:",
        "    image: pypiserver/pypiserver:latest",
        "    # The owner of the packages.",
        '    user: "${USER_ID:-1000}:${GROUP_ID:-1000}"',
        "    restart: unless-stopped",
        "    read_only: true",
        "    cap_drop: [ALL]",
        '    security_opt: ["no-new-privileges:true"]',
        "    tmpfs: [/tmp]",
        f"    ports: [{_yaml(port)}]",
        *(["    volumes:"] if volumes else []),
        *(["      # A file that is replaced is another one: docker compose restart shows it."] if has_files else []),
        *[f"      - {_yaml(volume)}" for volume in volumes],
        *([f"    environment: [{', '.join(_OF_THE_STORE)}]"] if config.storage is not None else []),
        "    command:",
        *[f"      - {_yaml(word)}" for word in [*words, *roots]],
    ]
    return "\n".join(lines) + "\n"


def _is_shared(folder: Path) -> bool:
    """Whether the folder holds more than one program's files: a home, or one that every system has."""
    return len(folder.parts) <= 2 or str(folder) in _EVERYBODYS or folder.parent == Path("/home") or folder == _home()


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _yaml(text: str) -> str:
    """A text in YAML, where JSON's is one; compose replaces ``$``."""
    return json.dumps(text.replace("$", "$$"))


RECIPES: Mapping[str, Callable[[Config, Mapping[str, Given]], str]] = {
    "systemd": systemd,
    "nginx": nginx,
    "compose": compose,
}
