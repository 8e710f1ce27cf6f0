"""Ready files for the given settings: a systemd unit, an nginx configuration, a compose file.

The text of a file is in ``templates/``; this module has the values that fill it. Pure: settings in, text out.

**Invariants:** a file contains only the given settings, so defaults of a later version apply; a value is quoted by the
rules of its file, by the one function that the template gets for that; every path is absolute.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files as resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..native_names import absolute
from ..settings.config import OPEN_TO_ALL, SETTINGS, Config
from ..settings.sources import Given
from ..text import LOOPBACK, printable, url_host
from .show_config import plain

WRITTEN = ("log_file", "audit_log", "stats", "catalog")
READ = (
    *("password_file", "rights", "tokens", "private_file", "welcome", "certificate", "key", "log_conf", "allow"),
    *("allow_projects", "deny_projects"),
)
# A folder that the server writes to.
CACHE = ("cache_folder",)
_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - compared with
# Running uploads have eight seconds to end; systemd must wait longer.
STOP_SECONDS = 30
_EVERYBODYS = ("/var/log", "/var/lib", "/var/cache", "/var/tmp", "/etc/ssl", "/usr/local", "/run/user")  # noqa: S108


def render(kind: str, config: Config, given: Mapping[str, Given]) -> str:
    """The file of that kind: systemd, nginx or compose."""
    template, values_of = RECIPES[kind]
    return _filled(template, values_of(config, given))


def _filled(name: str, values: Mapping[str, object]) -> str:
    """The template filled with the values. It escapes nothing by itself: its escaping is for HTML only."""
    from bottle import SimpleTemplate

    text = resources(__package__).joinpath("templates").joinpath(name).read_text("utf-8")
    return str(SimpleTemplate(source=text, noescape=True).render(**values))


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
    """The arguments that mean these settings; settings in a configuration file stay there, and the server reads it."""
    file = next((each.source for each in given.values() if each.source), "")
    here = [name for name, each in given.items() if not each.source and name not in without]
    words = ["--config", str(absolute(file))] if file else []
    is_elsewhere = "roots" in given and given["roots"].source
    return words + words_of(config, here) + ([] if is_elsewhere else _roots(config))


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return (",".join(map(str, value)) or ".") if isinstance(value, list) else str(value)


def _absolute(name: str, value: Any) -> Any:
    if isinstance(value, Path) and (name != "password_file" or value != OPEN_TO_ALL):
        return str(absolute(value))
    return plain(value)


def _roots(config: Config) -> list[str]:
    return [str(absolute(root)) for root in config.roots]


def _files(config: Config, names: Iterable[str]) -> dict[str, str]:
    """Absolute paths of the given files, by setting."""
    values = {name: getattr(config, name) for name in names}
    return {
        name: str(_absolute(name, value))
        for name, value in values.items()
        if isinstance(value, Path) and value != OPEN_TO_ALL
    }


def systemd(config: Config, given: Mapping[str, Given]) -> dict[str, object]:
    """A unit that runs the server as the user ``pypiserver``, with no more rights than it needs."""
    program = shutil.which("pypi-server", path=str(Path(sys.executable).parent))
    command = [program] if program else [sys.executable, "-m", "pypiserver"]
    roots, written = _roots(config), _files(config, WRITTEN)
    folders = sorted({*roots, *_files(config, CACHE).values(), *(str(Path(path).parent) for path in written.values())})
    words = [*command, *_command_line(config, given)]
    known = [*folders, *_files(config, READ).values(), *words, sys.prefix]
    return {
        "word": _systemd_word,
        "path": _systemd_path,
        "words": words,
        "stop_seconds": STOP_SECONDS + config.drain_seconds,
        "proxy_reads_packages": config.accel != "off",
        "default_catalog": "catalog" not in given or (config.asks_others and config.cache_folder is None),
        "protect_home": not _is_below(known, _HOMES),
        "private_tmp": not _is_below(known, _TEMPORARY),
        "folders": folders,
        "low_port": config.port < 1024,
    }


def _systemd_word(word: str) -> str:
    """One word of a command line, by the rules of systemd.service(5)."""
    return _systemd_quoted(word.replace("%", "%%").replace("$", "$$"))


def _systemd_path(path: str) -> str:
    """One path of a list, by the rules of systemd.unit(5)."""
    return _systemd_quoted(path.replace("%", "%%"))


def _systemd_quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return escaped if re.fullmatch(r"[\w@%+=:,./$-]+", escaped) else f'"{escaped}"'


def _is_below(paths: Iterable[str], folders: Iterable[str]) -> bool:
    return any(path.startswith(tuple(f"{folder}/" for folder in folders)) for path in paths)


def nginx(config: Config, given: Mapping[str, Given]) -> dict[str, object]:
    """A server block in front of the index, below the prefix of ``--server-base-url`` if it has one.

    nginx sends package files itself (``--accel nginx``). It also caches pages, unless they need a password.
    """
    base = urlsplit(config.root_url or f"http://pypi.example{config.root_path}")
    prefix, is_https = base.path.rstrip("/"), base.scheme == "https"
    if not re.fullmatch(r"[\w/.~-]*", prefix) or not re.fullmatch(r"[\w.:-]+", str(base.hostname)):
        raise ConfigError(
            f"--server-base-url {config.server_base_url}: it has characters that nginx would misread.",
            kind="value",
            setting="server_base_url",
            value=config.server_base_url,
        )
    host = "127.0.0.1" if config.host in LOOPBACK else config.host
    is_open = config.rights is None and "list" not in config.authenticate
    words = ["pypi-server", "-i", host, "--accel", "nginx", *_command_line(config, given, without=("host", "accel"))]
    return {
        "quoted": _nginx_quoted,
        "command": printable(shlex.join(words)),
        "address": f"{url_host(host)}:{config.port}",
        "upstream": f"{'https' if config.certificate else 'http'}://pypiserver",
        "name": base.hostname,
        "prefix": prefix,
        "is_https": is_https,
        "port": base.port or (443 if is_https else 80),
        "is_default_https": is_https and base.port in (None, 443),
        # --max-upload-size, and room for the rest of the form.
        "megabytes": (config.max_upload_size >> 20) + 33,
        "keeps_pages": is_open,
        # A request that nginx answers alone is not counted.
        "keeps_files": is_open and "download" not in config.authenticate and config.stats is None,
        "accel_location": config.accel_location.rstrip("/"),
        "folders": [_nginx_folder(root) for root in (*_roots(config), *_kept(config))],
    }


def _kept(config: Config) -> list[str]:
    """The folder with kept files of other indexes, which nginx sends too."""
    if config.mode != "cache":
        return []
    from ..factory.cache_place import cache_folder_of

    return [str(cache_folder_of(config))]


def _nginx_folder(root: str) -> str:
    """The folder; raises ConfigError if no quotes make its path safe."""
    if "$" in root or root != printable(root):
        raise ConfigError(
            f"The folder {printable(root)!r} has characters in its path that nginx would misread.",
            kind="value",
            setting="roots",
            value=root,
        )
    return root


def _nginx_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def compose(config: Config, given: Mapping[str, Given]) -> dict[str, object]:
    """A compose file for the image, with a volume for every named folder and file.

    A file that is only read is mounted by itself, because its folder may be a home. A file that is written needs its
    folder, because files next to it come and go; the folder must not be shared with other programs.
    """
    if config.upstream:
        raise ConfigError(
            "The tables [[upstream]] have no flag; make the file without them, mount the configuration file, and add "
            "--config FILE to the command.",
            kind="contradiction",
            setting="upstream",
        )
    volumes, inside = [], {}
    for number, root in enumerate(_roots(config)):
        volumes.append(f"{root}:/data/packages{number + 1 if number else ''}")
    for name, path in _files(config, CACHE).items():
        inside[name] = "/data/cache"
        volumes.append(f"{path}:{inside[name]}")
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
    words = words_of(config, [name for name in given if name not in ("host", "port")], paths=inside)
    port = f"{config.port}:8080"
    if config.host not in LOOPBACK:
        port = f"{url_host(config.host)}:{port}"
    return {
        "text": _yaml,
        "port": port,
        "volumes": volumes,
        "has_files": any(name in READ for name in inside),
        "is_bucket": config.storage is not None,
        "words": [*words, *roots],
    }


def _is_shared(folder: Path) -> bool:
    """Whether several programs use the folder: a home, or a folder that every system has."""
    return len(folder.parts) <= 2 or str(folder) in _EVERYBODYS or folder.parent == Path("/home") or folder == _home()


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _yaml(text: str) -> str:
    """A text in YAML, which accepts a JSON string; ``$`` is escaped, because compose replaces it."""
    return json.dumps(text.replace("$", "$$"))


RECIPES: Mapping[str, tuple[str, Callable[[Config, Mapping[str, Given]], dict[str, object]]]] = {
    "systemd": ("systemd.service", systemd),
    "nginx": ("nginx.conf", nginx),
    "compose": ("compose.yml", compose),
}
