"""What the wheels of a release are built for, as the page of a project says it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pypiserver.web.html.built_for import MAX_PLATFORMS, built_for


def shown(*names: str, kind: str = "bdist_wheel") -> list[tuple[str, list[str]]]:
    return built_for(SimpleNamespace(filename=name, kind=kind) for name in names)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64", ("Linux x86_64", ["3.12"])),
        ("cp313-cp313t-musllinux_1_2_aarch64", ("Linux aarch64 (musl)", ["3.13t"])),
        ("cp38-abi3-macosx_11_0_arm64", ("macOS arm64", ["3.8+"])),
        ("cp310-cp310-win_amd64", ("Windows amd64", ["3.10"])),
        ("cp310-cp310-win32", ("Windows x86", ["3.10"])),
        ("pp310-pypy310_pp73-linux_armv7l", ("Linux armv7l", ["PyPy 3.10"])),
        ("py3-none-win_arm64", ("Windows arm64", ["3"])),
        ("py37-none-win_arm64", ("Windows arm64", ["3.7+"])),
        ("graalpy242_312_native-odd-beos", ("beos", ["graalpy242_312_native"])),
    ],
)
def test_tags_in_words(tags: str, said: tuple[str, list[str]]) -> None:
    assert shown(f"foo-1.0-{tags}.whl") == [said]


def test_platforms_are_named_once_with_their_pythons_in_order() -> None:
    names = [f"foo-1.0-1-cp{minor}-cp{minor}-{platform}.whl" for platform in ("win_amd64", "macosx_10_9_x86_64")
             for minor in ("310", "39")]  # fmt: skip
    assert shown(*names) == [("Windows amd64", ["3.9", "3.10"]), ("macOS x86_64", ["3.9", "3.10"])]


def test_pure_wheels_and_sources_need_no_list() -> None:
    assert shown("foo-1.0-py2.py3-none-any.whl") == []
    assert shown("foo-1.0.tar.gz", kind="sdist") == []


def test_the_list_is_bounded() -> None:
    names = [f"foo-1.0-cp39-cp39-odd{number}.whl" for number in range(2 * MAX_PLATFORMS)]
    assert len(shown(*names)) == MAX_PLATFORMS
