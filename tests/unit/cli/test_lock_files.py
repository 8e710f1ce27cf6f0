"""What lock files and requirements pin, also hostile ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pypiserver.cli import lock_files
from pypiserver.cli.lock_files import MAX_BYTES, Pin, Pins, is_file_name, pin_of, read_pins
from pypiserver.distributions.filename import normalize
from pypiserver.errors import ConfigError
from tests.raising import raises

HASH = "sha256:" + "0" * 64
WHEEL, SOURCE = "urllib3-2.7.0-py3-none-any.whl", "urllib3-2.7.0.tar.gz"
WHOLE = Pin(normalize("urllib3"), "2.7.0", frozenset({WHEEL, SOURCE}))
UV = f"""
version = 1
revision = 3
[[package]]
name = "own"
version = "0.1"
source = {{ virtual = "." }}
[[package]]
name = "here"
source = {{ editable = "here" }}
[[package]]
name = "cloned"
version = "1.0"
source = {{ git = "https://git.example/cloned?rev=1#abc" }}
[[package]]
name = "fetched"
version = "1.0"
source = {{ url = "https://files.example/fetched-1.0.tar.gz" }}
[[package]]
name = "urllib3"
version = "2.7.0"
source = {{ registry = "https://pypi.example/simple/" }}
sdist = {{ url = "https://pypi.example/packages/aa/bb/{"c" * 60}/{SOURCE}", hash = "{HASH}", size = 1 }}
wheels = [
    {{ url = "https://pypi.example/packages/aa/bb/{"d" * 60}/{WHEEL}", hash = "{HASH}", size = 1 }},
]
"""
POETRY = f"""
[[package]]
name = "urllib3"
version = "2.7.0"
optional = false
files = [
    {{file = "{WHEEL}", hash = "{HASH}"}},
    {{file = "{SOURCE}", hash = "{HASH}"}},
]
[[package]]
name = "second"
version = "1.0"
files = []
[package.source]
type = "legacy"
url = "https://pypi.example/simple"
reference = "ours"
[[package]]
name = "cloned"
version = "1.0"
files = []
[package.source]
type = "git"
url = "https://git.example/cloned"
[metadata]
lock-version = "2.1"
"""
PDM = f"""
[metadata]
lock_version = "4.5.0"
[[package]]
name = "urllib3"
version = "2.7.0"
files = [
    {{file = "{WHEEL}", hash = "{HASH}"}},
    {{url = "https://pypi.example/packages/{SOURCE}#sha256=0", hash = "{HASH}"}},
]
[[package]]
name = "cloned"
version = "1.0"
git = "https://git.example/cloned"
"""
PYLOCK = f"""
lock-version = "1.0"
created-by = "pip"
[[packages]]
name = "urllib3"
version = "2.7.0"
wheels = [{{name = "{WHEEL}", url = "https://pypi.example/x/other.whl", hashes = {{sha256 = "0"}}}}]
sdist = {{url = "https://pypi.example/x/{SOURCE}", hashes = {{sha256 = "0"}}}}
[[packages]]
name = "local"
directory = {{path = "."}}
[[packages]]
name = "fetched"
archive = {{url = "https://files.example/fetched-1.0.tar.gz", hashes = {{sha256 = "0"}}}}
"""
REQUIREMENTS = f"""\
# a comment
--index-url https://pypi.example/simple/
-r other.txt
urllib3==2.7.0 \\
    --hash={HASH} \\
    --hash={HASH}
Second[extra] == 1.0 ; python_version > "3"  # why
third>=2
fourth
./local
fifth @ https://files.example/fifth-1.0.tar.gz
"""


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("uv.lock", UV, [WHOLE]),
        ("poetry.lock", POETRY, [WHOLE, Pin(normalize("second"), "1.0")]),
        ("pdm.lock", PDM, [WHOLE]),
        ("pylock.toml", PYLOCK, [WHOLE]),
        (
            "requirements.txt",
            REQUIREMENTS,
            [
                Pin(normalize("urllib3"), "2.7.0"),
                Pin(normalize("second"), "1.0"),
                Pin(normalize("third")),
                Pin(normalize("fourth")),
            ],
        ),
    ],
)
def test_every_kind_of_file(tmp_path: Path, name: str, text: str, expected: list[Pin]) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert read_pins(path) == Pins(tuple(expected))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("Urllib3", Pin(normalize("urllib3"))),
        ("urllib3 == 2.7.0", Pin(normalize("urllib3"), "2.7.0")),
        ("a.b_c[x]===1.0", Pin(normalize("a-b-c"), "1.0")),
    ],
)
def test_specs(spec: str, expected: Pin) -> None:
    assert (pin_of(spec), is_file_name(spec)) == (expected, False)


@pytest.mark.parametrize(
    "spec", ["", "../a", "a b", "a==", "a==x y", "-a", "a" * 300, "==1", "a==not-a-version", "a\nb"]
)
def test_what_is_no_spec(spec: str) -> None:
    with raises(ConfigError, kind="value", setting="subject"):
        pin_of(spec)


def test_files_are_told_from_projects_by_their_names() -> None:
    assert all(map(is_file_name, ("uv.lock", "pylock.dev.toml", "requirements.txt", "./x", "a/b")))
    assert not any(map(is_file_name, ("zope.interface", "urllib3==2.7.0")))


def test_hostile_entries_are_named_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "uv.lock"
    names = ["../../etc/passwd", "a/b", "", "\\u0000", "x" * 300]
    entries = "".join(f'[[package]]\nname = "{name}"\nversion = "1"\n' for name in names)
    path.write_text(f'{entries}[[package]]\nversion = "1"\n[[package]]\nname = "a"\nversion = {"[" * 20}{"]" * 20}\n')
    found = read_pins(path)
    assert (found.pins, len(found.unread)) == ((), len(names) + 2)
    assert all(len(each) < 100 and each.isprintable() for each in found.unread)
    path.write_text('[[package]]\nname = "a"\nversion = "1"\nwheels = [{url = "http://[x"}, {url = "/../.."}, 7]\n')
    (pin,) = read_pins(path).pins
    assert pin.files == {".."}
    (tmp_path / "requirements.txt").write_text("../x==1\na==1\nb==\n$(c)==1\n")
    found = read_pins(tmp_path / "requirements.txt")
    assert ([str(pin) for pin in found.pins], len(found.unread)) == (["a 1"], 2)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a = " + "[" * 100_000, "package = 7", "", "\x00", "a = 1\na = 2", "[[package]", "x = {"]
)
def test_what_is_no_lock_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "uv.lock").write_text(text)
    with raises(ConfigError, kind="lock-file"):
        read_pins(tmp_path / "uv.lock")


def test_huge_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "requirements.txt"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with raises(ConfigError, kind="lock-file"):
        read_pins(path)
    monkeypatch.setattr(lock_files, "MAX_PINS", 3)
    path.write_text("a\nb\nc\n")
    assert len(read_pins(path).pins) == 3
    path.write_text("a\nb\nc\nd\n")
    with raises(ConfigError, kind="lock-file"):
        read_pins(path)
    with raises(ConfigError, kind="lock-file"):
        read_pins(tmp_path)


@settings(max_examples=60)
@given(st.binary(max_size=200) | st.text('[]{}="package.nm\n1', max_size=100).map(str.encode), st.booleans())
def test_any_content_is_pins_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, is_lock: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / ("fuzz.lock" if is_lock else "fuzz.txt")
    path.write_bytes(data)
    try:
        found = read_pins(path)
    except ConfigError:
        return
    assert all(str(pin.project) == normalize(pin.project) for pin in found.pins)
