"""Core metadata that is made to cost its reader much: fields, lines, requirements and encodings around the limits."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterable

from tests.make_archives import make_sdist, make_wheel

from .around import around

Chance = random.Random
HEADER_BYTES, REQUIREMENT_BYTES, REQUIREMENTS, NAME_CHARACTERS = 512 << 10, 1 << 10, 300, 200
MOST_BYTES = 16 << 20
TEXT_FIELDS = ("Summary", "Keywords", "License", "Author", "Home-page", "Maintainer-email", "X-Unknown")
LIST_FIELDS = (
    *("Classifier", "Project-URL", "Provides-Extra", "Platform", "Dynamic", "License-File"),
    *("Requires-External", "Provides-Dist", "Obsoletes-Dist", "Supported-Platform"),
)


def continued(chance: Chance) -> str:
    """One field of many lines."""
    lines = around(chance, chance.choice((1_000, 600_000)), most=2_000_000)
    return f"{chance.choice(TEXT_FIELDS)}: x\n" + chance.choice((" a\n", " \n", "        |\n", "\tb\n")) * lines


def huge_field(chance: Chance) -> str:
    """One field of one long line."""
    text = chance.choice(("a", "a, ", "a b ", "<", "&amp;", "\\", "é", "\U0001f40d", "_", "-", "]("))
    return f"{chance.choice(TEXT_FIELDS)}: " + text * around(chance, HEADER_BYTES // len(text), most=8 << 20)


def requirements(chance: Chance) -> str:
    """Many requirements."""
    number = around(chance, chance.choice((REQUIREMENTS, 50_000)), most=300_000)
    ending = chance.choice(
        ("", ">=1", " ; python_version > '3'", "[a,b] ; extra == 'x'", " @ https://files.example/x.whl")
    )
    return "\n".join(f"Requires-Dist: r{at % chance.choice((7, 1 << 30))}{ending}" for at in range(number))


def huge_requirement(chance: Chance) -> str:
    """A requirement of many extras, versions or markers, which may be nested."""
    times = around(chance, chance.choice((REQUIREMENT_BYTES // 8, 100_000)), most=1_000_000)
    marker = "python_version>'3'"
    texts = {
        "extras": "r[" + "a," * times + "a]",
        "versions": "r " + ">=1," * times + "<9",
        "markers": f"r ; {marker}" + f" and {marker}" * (times // 4),
        "brackets": "r ; " + "(" * times + marker + ")" * times,
        "open brackets": "r ; " + "(" * times,
        "name": "r" + "-" * times + "r",
        "address": "r @ https://files.example/" + "a/" * times,
        "quotes": "r ; python_version > '" + "3" * times + "'",
        "blanks": "r" + " " * times + ">=1",
        "wildcards": "r ==" + "1." * times + "*",
    }
    return f"Requires-Dist: {texts[chance.choice(list(texts))]}"


def many_of_a_list(chance: Chance) -> str:
    """Many fields of one name."""
    value = chance.choice(("a", "Programming Language :: Python", "docs, https://docs.example/", "ä" * 300))
    number = around(chance, chance.choice((1_000, 50_000)), most=min(400_000, MOST_BYTES // (len(value) + 12)))
    field = chance.choice(LIST_FIELDS)
    return "\n".join(f"{field}: {value}{at}" for at in range(number))


def many_fields(chance: Chance) -> str:
    """Fields of as many different names."""
    value = chance.choice(("", "x", "y" * 100))
    return "\n".join(f"X-{at}: {value}" for at in range(around(chance, 20_000, most=200_000)))


def python_requires(chance: Chance) -> str:
    """A long Requires-Python."""
    text = chance.choice((">=3.7,", "!=3.0.*,", "==3." + "1" * 50 + ",", "<" * 9, "~=3,"))
    return "Requires-Python: " + text * around(chance, 200, most=500_000) + ">=3"


def multipart(chance: Chance) -> str:
    """Messages inside each other, as a mail program nests them."""
    depth = around(chance, chance.choice((10, 900)), most=20_000)
    parts = [f'Content-Type: multipart/mixed; boundary="b{at}"\n\n--b{at}\n' for at in range(depth)]
    return chance.choice(("MIME-Version: 1.0\n", "")) + "".join(parts) + "Content-Type: text/plain\n"


def encodings(chance: Chance) -> str:
    """Words and bodies in the encodings of mail."""
    times = around(chance, 2_000, most=200_000)
    word = base64.b64encode("ä".encode() * chance.randrange(1, 30)).decode()
    texts = (
        "Summary: " + f"=?utf-8?b?{word}?= " * times,
        "Summary: " + "=?utf-8?q?=E4?=" * times + "=?",
        "Author-email: " + "a@b, " * times,
        "Author-email: " + "(" * times + "a@b",
        "Author-email: " + '"' * times + "<" * times,
        "Content-Transfer-Encoding: base64\nContent-Type: text/markdown; charset=utf-7; " + "a=b; " * times,
        "Description-Content-Type: text/markdown" + "; variant=GFM" * times,
        'Description-Content-Type: text/x-rst; charset="' + "\\" * times,
        "Summary: \ufeff" + "\u202e\u2028\x1b[31m\x85\x0b\x0c\x1c" * times,
    )
    return chance.choice(texts)


FIELDS: dict[str, Callable[[Chance], str]] = {
    "metadata: continuation lines": continued,
    "metadata: a huge field": huge_field,
    "metadata: requirements": requirements,
    "metadata: a huge requirement": huge_requirement,
    "metadata: a long list": many_of_a_list,
    "metadata: many fields": many_fields,
    "metadata: Requires-Python": python_requires,
    "metadata: multipart": multipart,
    "metadata: encodings": encodings,
}


def long_name(chance: Chance, project: str) -> tuple[str, str]:
    """Another spelling of the name and the version, which are equal to those of the file."""
    times = around(chance, chance.choice((NAME_CHARACTERS, 1 << 20)), most=7 << 20)
    name = project.replace("-", chance.choice("-._") * times, 1) if chance.random() < 0.6 else project
    if name == project:
        return name, chance.choice(("1" + ".0" * times, "0" * times + "1", "1.0+" + "a." * times + "a", "v" + "1.0"))
    return name, "1.0"


def packed(chance: Chance, project: str, metadata: bytes) -> tuple[str, bytes]:
    """A package with this metadata."""
    if chance.random() < 0.75:
        return make_wheel(project, "1.0", metadata=metadata)
    return make_sdist(project, "1.0", metadata=metadata)


def make(chance: Chance, project: str, fields: Callable[[Chance], str]) -> tuple[str, bytes]:
    """The name and the bytes of a package with evil fields, before or behind the good ones."""
    name, version = project, "1.0"
    parts = ["Metadata-Version: 2.1", f"Name: {name}\nVersion: {version}"]
    parts.insert(chance.randrange(1, 3), fields(chance).rstrip("\n"))
    text = "\n".join(parts) + "\n\nbody\n"
    coded = text.encode(chance.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig")), "replace")
    return packed(chance, project, coded)


def make_long_name(chance: Chance, project: str) -> tuple[str, bytes]:
    name, version = long_name(chance, project)
    return packed(chance, project, f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nbody\n".encode())


def kinds() -> Iterable[tuple[str, Callable[[Chance, str], tuple[str, bytes]]]]:
    """Each kind with the function that makes a package of it."""
    for kind, fields in FIELDS.items():
        yield kind, lambda chance, project, fields=fields: make(chance, project, fields)
    yield "metadata: a long name", make_long_name
