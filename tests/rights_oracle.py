"""What a hidden project must be: the same as one that never existed, at every address, in every spelling.

A world is generated from a seed: rights, projects, and those who ask. For each row of the table of routes there are
requests that name a project; each is sent twice, for a project that is hidden and for a name of the same length that
never existed. The two answers must be the same but for the name itself.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pypiserver.access.token_record import Limits, mint, to_line
from tests.make_archives import make_sdist, make_wheel
from tests.unit.wsgi import form

OLD = 1_600_000_000
PASSWORD = "right"
# Words of the same length that no rule and no page has: of each pair the first exists and the second never did.
PAIRS = (("quokka", "wombat"), ("ocelot", "jackal"), ("zebra", "tapir"), ("bison", "hyena"))
USERS = ("mia", "pat", "sam", "root", "cia", "uma", "del", "dow")
# Not a user: credentials that are wrong, and some that cannot be read.
WRONG = ("wrong", "junk")
# A token of a user who may do all, for some projects.
SCOPE = ("acme-sdk", "acme-sdk-p*", "kit-*")
TOKEN_LINE, TOKEN = mint("root", Limits(("read",), projects=SCOPE, is_service=True), seconds=None, now=OLD)


class Ask(NamedTuple):
    """A request: ``name`` stands for the project's name in ``path``, ``file`` for it as file names have it."""

    path: str
    body: str = ""
    kind: str = ""


class Reply(NamedTuple):
    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Request(NamedTuple):
    method: str
    target: str
    body: bytes
    headers: Mapping[str, str]


Send = Callable[[str, str, Mapping[str, str], bytes], Reply]


@dataclass(frozen=True)
class World:
    """Rights as a file has them, the projects that exist, and for each user the pairs of names hidden from them."""

    rights: str
    projects: tuple[str, ...]
    hidden: Mapping[str, tuple[tuple[str, str], ...]]
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def visible(self, who: str) -> tuple[str, ...]:
        gone = {name for name, _ in self.hidden[who]}
        return tuple(name for name in self.projects if name not in gone)


def world(seed: int, may_list: Callable[[str, str, str], bool]) -> World:
    """The world of a seed; ``may_list`` tells for rights, a user ('' for none) and a project what the rules say."""
    chance = random.Random(seed)
    heads = ["acme", "base", "kit", "acme-sdk", "secret"]
    lines = [
        "everyone read kit kit-p*",
        "group partners: pat",
        "group staff: sam cia",
        "@partners read acme-sdk " + chance.choice(["acme-sdk-pub*", "acme-sdk-p?blic", "*-public"]),
        "@staff read,upload,yank * " + chance.choice(["!secret-*", "!secret-* !*-hidden", "!s?cret*"]),
        "cia upload acme-sdk acme-new",
        # Users who may do one thing with every project, and list none.
        "uma upload,overwrite *",
        "del delete,yank *",
        "dow download *",
        "root all *",
    ]
    chance.shuffle(lines)
    rights = "\n".join(lines) + "\n"
    existing = ["acme-sdk", "acme-sdk-public", "kit", "kit-public", "base-tool"]
    pairs = []
    for here, never in PAIRS:
        head = chance.choice(heads)
        pairs.append((f"{head}-{here}", f"{head}-{never}"))
    pairs += [("secret-quokka", "secret-wombat")]
    pairs = list(dict.fromkeys(pairs))
    projects = [*existing, *(here for here, _ in pairs)]
    chance.shuffle(projects)
    hidden = {}
    for who in ("", *USERS, "token", *WRONG):
        said = {name: may_list(rights, who, name) for pair in pairs for name in pair}
        assert all(said[here] == said[never] for here, never in pairs), "the rules tell the two names apart"
        hidden[who] = tuple(pair for pair in pairs if not said[pair[0]])
    needs = {here: ("acme-sdk", "kit", "base-tool") for here, _ in pairs}
    return World(rights, tuple(projects), hidden, {**needs, "acme-sdk-public": ("acme-sdk", "kit")})


def fill(root: Path, some: World, projects: tuple[str, ...]) -> None:
    """Put the files of these projects into a folder, each with all that may be next to it."""
    for number, name in enumerate(some.projects):
        if name not in projects:
            continue
        taint = f"taint-of-{name}"
        for version in ("1.0", "1.1"):
            extra = [f"Keywords: {taint}", "Description-Content-Type: text/plain"]
            metadata = "\n".join([
                "Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", f"Summary: {taint} and acme kit",
                *extra, *(f"Requires-Dist: {each}" for each in some.needs.get(name, ())), "", taint,
            ])  # fmt: skip
            for filename, data in (
                make_wheel(name, version, metadata=metadata.encode()),
                make_sdist(name.replace("-", "_"), version, metadata=metadata.encode()),
            ):
                put(root / filename, data, OLD + 1000 * number)
                put(root / f"{filename}.asc", f"signature {taint}".encode(), OLD)
        put(root / f"{name.replace('-', '_')}-1.1.tar.gz.yanked", b"because", OLD)
        put(root / f"{name.replace('-', '_')}-0.9.tar.gz", b"no archive " + taint.encode(), OLD)
        if number % 3 == 0:
            put(root / ".status" / name, b"deprecated\n" + taint.encode() + b"\n", OLD)


def configure(folder: Path, some: World) -> tuple[Path, Path]:
    """Write the rights file and the tokens file of a world."""
    rights, tokens = folder / "rights", folder / "tokens"
    rights.write_text(some.rights)
    tokens.write_text(to_line(TOKEN_LINE) + "\n")
    tokens.chmod(0o600)
    return rights, tokens


def put(path: Path, data: bytes, when: float) -> None:
    import os

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (when, when))


WHEEL = "{file}-1.0-py3-none-any.whl"
_PYPI = [Ask("/pypi/{name}"), Ask("/pypi/{name}/")]
_SEARCH = (
    "<?xml version='1.0'?><methodCall><methodName>search</methodName><params><param><value><struct><member>"
    "<name>name</name><value><string>{name}</string></value></member></struct></value></param></params></methodCall>"
)
_CALL = "<?xml version='1.0'?><methodCall><methodName>%s</methodName><params>%s</params></methodCall>"
_CALLS = [
    Ask("", _CALL % ("list_packages", ""), "text/xml"),
    Ask("", _CALL % ("list_packages_with_serial", ""), "text/xml"),
    Ask("", _CALL % ("changelog_last_serial", ""), "text/xml"),
    Ask("", _CALL % ("changelog_since_serial", "<param><value><int>1</int></value></param>"), "text/xml"),
    Ask("", _CALL % ("package_releases", "<param><value><string>{name}</string></value></param>"), "text/xml"),
    Ask("", _SEARCH, "text/xml"),
    Ask("", _SEARCH.replace("<name>name<", "<name>summary<"), "text/xml"),
]
_CHANGES = [
    Ask("", ":action=file_upload", "form"),
    Ask("", ":action=remove_pkg&name={name}&version=1.0", "fields"),
    Ask("", ":action=yank&name={name}&version=1.0&reason=x", "fields"),
    Ask("", ":action=unyank&name={name}&version=1.1", "fields"),
    Ask("", ":action=doc_upload&name={name}", "fields"),
    Ask("", ":action=submit&name={name}&version=1.0", "fields"),
    Ask("", ":action=verify&name={name}&version=1.0", "fields"),
    Ask("", ":action=nothing&name={name}", "fields"),
]
_LISTS = [
    Ask("?q={name}"), Ask("?q={name}&sort=name"), Ask("?q=taint&page=2"), Ask("?needs={name}"), Ask("?needs=kit"),
    Ask("?sort=-name"), Ask("?sort=date"), Ask("?sort=size&show=yanked"), Ask("?show=marked"), Ask("?q=tai"),
    Ask("?q=acme+kit"), Ask("?q=c"), Ask(""),
]  # fmt: skip
_FILES = [
    Ask("?q={name}"), Ask("?q={file}-1.0"), Ask("?q={name}&anywhere=1"), Ask("?from={name}"), Ask("?all"),
    Ask("?after={name}/{file}-1.0.tar.gz"), Ask("?before={name}/{file}-1.0.tar.gz"), Ask("?q=1.0&anywhere=1"), Ask(""),
]  # fmt: skip
_RELEASES = ("/1.0", "/1.1", "/9.9", "/0.9")


def _of(rule: str, versions: tuple[str, ...] = ("",)) -> list[Ask]:
    return [Ask(rule.replace("<project>", "{name}").replace("/<version>", version)) for version in versions]


# For each row of the table of routes, its requests; a row of the table that is not here fails the build.
ROWS: dict[tuple[str, str], list[Ask]] = {
    **{("GET", rule): [Ask(rule)] for rule in ("/favicon.ico", "/health", "/health/live", "/health/ready", "/metrics")},
    ("GET", "/"): [Ask("/"), Ask("/?{name}")],
    ("GET", "/static/<name>"): [Ask("/static/{name}"), Ask("/static/{file}.css")],
    **{("GET", rule): [Ask(rule), Ask(rule + "?{name}")] for rule in ("/simple", "/+simple", "/packages", "/projects")},
    **{("GET", rule): [Ask(rule), Ask(f"{rule}?format=application/vnd.pypi.simple.v1%2Bjson")]
       for rule in ("/simple/", "/+simple/")},
    **{("GET", f"/{simple}/<project>{slash}"): [*_of(f"/{simple}/<project>{slash}"),
       Ask(f"/{simple}/{{name}}{slash}?format=application/vnd.pypi.simple.v1%2Bjson")]
       for simple in ("simple", "+simple") for slash in ("", "/")},
    ("GET", "/packages/"): [Ask(f"/packages/{ask.path}") for ask in _FILES],
    ("GET", "/packages/<path>"): [
        *(Ask(f"/packages/{WHEEL}{suffix}") for suffix in ("", ".metadata", ".asc", ".provenance", ".yanked", ".x")),
        *(Ask(f"/packages/{{file}}-{version}.tar.gz{suffix}") for version in ("1.0", "1.1", "0.9", "7")
          for suffix in ("", ".asc", ".metadata")),
        *(Ask(f"/packages/{each}") for each in (
            "{name}", "{file}", "{name}/", f"sub/{WHEEL}", f"{{name}}/{WHEEL}", f"./{WHEEL}", ".status/{name}",
            *(f"{folder}/{file}{suffix}" for folder in (f"12/ab/{'0' * 60}", "@pypi/{name}", "@other/{name}")
              for file in (WHEEL, "{file}-1.0.tar.gz") for suffix in ("", ".metadata", ".provenance", ".asc")),
            f"@pypi/{WHEEL}", f"12/ab/{'0' * 60}/{{name}}/{WHEEL}",
            f"{WHEEL}/", "{name}-1.0.tar.gz", "{file}-1.0-1.tar.gz", "{file}-1.0.zip", "{file}-1.0.egg")),
    ],
    ("GET", "/pypi/<project>/json"): _of("/pypi/<project>/json"),
    ("GET", "/pypi/<project>/<version>/json"): _of("/pypi/<project>/<version>/json", _RELEASES),
    ("GET", "/<project>/json"): _of("/<project>/json"),
    ("GET", "/<project>/<version>/json"): _of("/<project>/<version>/json", _RELEASES),
    ("GET", "/projects/"): [Ask(f"/projects/{ask.path}") for ask in _LISTS],
    ("GET", "/projects/feed.atom"): [Ask("/projects/feed.atom"), Ask("/projects/feed.atom?q={name}")],
    ("GET", "/project/<project>/feed.atom"): _of("/project/<project>/feed.atom"),
    **{("GET", f"/project/<project>{slash}"): _of(f"/project/<project>{slash}") for slash in ("", "/")},
    **{("GET", f"/project/<project>/<version>{slash}"): _of(f"/project/<project>/<version>{slash}", _RELEASES)
       for slash in ("", "/")},
    **{("GET", f"/<project>{slash}"): _of(f"/<project>{slash}") for slash in ("", "/")},
    **{("GET", f"/pypi/<project>{slash}"): _of(f"/pypi/<project>{slash}") for slash in ("", "/")},
    **{("GET", f"{pypi}/<project>/<version>{slash}"): _of(f"{pypi}/<project>/<version>{slash}", _RELEASES)
       for pypi in ("", "/pypi") for slash in ("", "/")},
    **{("POST", rule): [ask._replace(path=rule) for ask in _CALLS] for rule in ("/RPC2", "/RPC2/")},
    **{("POST", rule): [ask._replace(path=rule) for ask in (*_CALLS, *_CHANGES)] for rule in ("/", "/pypi", "/pypi/")},
    **{("POST", rule): [ask._replace(path=rule) for ask in _CHANGES]
       for rule in ("/simple", "/simple/", "/legacy", "/legacy/")},
}  # fmt: skip

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda name: name,
    "capitals": str.title,
    "upper case": str.upper,
    "underscores": lambda name: name.replace("-", "_"),
    "dots": lambda name: name.replace("-", "."),
    "dashes": lambda name: name.replace("-", "--"),
    "mixed": lambda name: name.replace("-", "-_."),
    "letter encoded": lambda name: f"%{ord(name[0]):02x}{name[1:]}",
    "all encoded": lambda name: "".join(f"%{ord(letter):02X}" for letter in name),
    "encoded twice": lambda name: f"%25{ord(name[0]):02x}{name[1:]}",
    "with a blank": lambda name: f"{name}%20",
    "with nul": lambda name: f"{name}%00",
    "with a dash": lambda name: f"{name}-",
}
PATHS: dict[str, Callable[[str], str]] = {
    "as it is": lambda path: path,
    "double slash in front": lambda path: "/" + path,
    "double slashes": lambda path: path.replace("/", "//"),
    "slash behind": lambda path: path + "/" if "?" not in path else path,
    "dot": lambda path: "/." + path,
    "dots": lambda path: "/x/.." + path,
    "slash encoded": lambda path: "/" + path[1:].replace("/", "%2F", 1),
    "parameters": lambda path: path + ";a=b" if "?" not in path else path,
    "query": lambda path: path + ("&" if "?" in path else "?") + "format=json",
}
HEADERS: dict[str, Mapping[str, str]] = {
    "plain": {},
    "browser": {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"},
    "pip": {"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.1", "User-Agent": "pip/25.0"},
    "uv": {"Accept": "*/*", "User-Agent": "uv/0.9.0"},
    "json": {"Accept": "application/json"},
    "any tag": {"If-None-Match": "*"},
    "range": {"Range": "bytes=0-3"},
    "old": {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT", "If-Range": '"x"', "Range": "bytes=1-1"},
    "coded": {"Accept-Encoding": "gzip, zstd"},
    "other site": {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"},
    "preflight": {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"},
}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


def login(who: str) -> Mapping[str, str]:
    """The header of a user or of wrong credentials, none for ''."""
    if who == "junk":
        return {"Authorization": "Basic ???"}
    known = {"wrong": ("pat", "wrong"), "token": ("__token__", TOKEN)}
    user, password = known.get(who, (who, PASSWORD))
    word = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {word}"} if who else {}


def bare(rule: str) -> str:
    """A rule without the patterns of its parameters."""
    return re.sub(r"<(\w+):.*?>(?=/|$)", r"<\1>", rule)


def request(ask: Ask, name: str, spell: Callable[[str], str] = str) -> tuple[str, bytes, Mapping[str, str]]:
    """The target, the body and the headers of a request that names a project."""
    file = name.replace("-", "_")
    target = ask.path.replace("{name}", spell(name)).replace("{file}", spell(file))
    said = ask.body.replace("{name}", name).replace("{file}", file)
    if ask.kind == "form":
        body, kind = form({":action": "file_upload", "name": name}, *make_wheel(name, "1.0", summary="other bytes"))
        return target, body, {"Content-Type": kind}
    if ask.kind == "fields":
        body, kind = form(dict(each.split("=", 1) for each in said.split("&")))
        return target, body, {"Content-Type": kind}
    return target, said.encode(), {"Content-Type": ask.kind} if ask.kind else {}


def renamed(reply: Reply, never: str, here: str) -> Reply:
    """The reply for a name that never existed, with each of its spellings replaced by that of the other name."""
    pairs = set()
    for before, after in ((never, here), (never.replace("-", "_"), here.replace("-", "_"))):
        for spell in (*SPELLINGS.values(), quote):
            pairs |= {(spell(before), spell(after)), (spell(before).lower(), spell(after).lower())}
        pairs |= {(before.rpartition("-")[2], after.rpartition("-")[2])}

    def change(text: str) -> str:
        for before, after in sorted(pairs, key=len_of, reverse=True):
            text = text.replace(before, after)
        return text

    headers = tuple((name, change(value)) for name, value in reply.headers)
    return Reply(change(reply.status), headers, change(reply.body.decode("latin-1")).encode("latin-1"))


def len_of(pair: tuple[str, str]) -> int:
    return len(pair[0])


def is_of_right(who: str, ask: Ask) -> bool:
    """Whether a user who may do one thing with every project does it here: the answer may depend on the project."""
    is_change = ask.kind == "form" or ask.body.startswith(":action=")
    if who == "dow":
        return ask.path.startswith("/packages/") and "{" in ask.path and "?" not in ask.path
    return who in ("uma", "del") and is_change


def differing(send: Send, some: World, who: str, *, every: int = 1, first: int = 0) -> tuple[int, list[str]]:
    """How many requests were sent twice, and those whose answer tells that a hidden project exists."""
    pairs, found, count = some.hidden[who] or some.hidden[""], [], 0
    for number, (ask, spelling, path, headers, method) in enumerate(addresses()):
        if number % every != first % every or is_of_right(who, ask):
            continue
        here, never = pairs[number // every % len(pairs)]
        seen, wanted = (
            send(method, PATHS[path](target), {**login(who), **more, **HEADERS[headers]}, body)
            for target, body, more in (request(ask, name, SPELLINGS[spelling]) for name in (here, never))
        )
        count += 1
        if seen != renamed(wanted, never, here):
            found.append(f"{who or 'anonymous'}: {method} {ask} {spelling}/{path}/{headers}: {here}: {seen} {wanted}")
    return count, found


def lists(some: World, who: str, *, every: int = 1, first: int = 0) -> Iterator[Request]:
    """The requests of every list, number and search, and of every page of a visible project."""
    hidden = [here for here, _ in some.hidden[who]]
    requests: list[Request] = []
    for (method, rule), asks in ROWS.items():
        for ask in asks:
            # What is wrong with a file is told in other words in its first seconds, and what the server does too.
            if ask.kind in ("form", "fields") or "0.9" in ask.path or rule.startswith("/health"):
                continue
            names = [*some.visible(who)[:2], *hidden] if "{" in ask.path + ask.body else [""]
            for name in some.visible(who) if "<" in rule else names:
                target, body, more = request(ask, name)
                requests += [Request(method, target, body, {**more, **HEADERS[k]}) for k in ("plain", "browser", "pip")]
    return iter(requests[first % every :: every])


def addresses() -> Iterator[tuple[Ask, str, str, str, str]]:
    """(request, spelling, form of the path, headers, method): each of these, with the others as usual."""
    usual = "as it is"
    for (method, _), asks in ROWS.items():
        for ask in asks:
            for spelling in SPELLINGS if "{" in ask.path else (usual,):
                yield ask, spelling, usual, "plain", method
            yield from ((ask, usual, path, "plain", method) for path in PATHS)
            yield from ((ask, usual, usual, headers, method) for headers in HEADERS)
            yield from ((ask, usual, usual, "plain", other) for other in METHODS if other != method)
