"""Which kinds of files come in from an index, by their names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pypiserver.proxy.file_limits import broken_limit
from pypiserver.upstream.values import Upstream

from .remote import PUBLIC, remote_file

LINUX = "demo-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
MUSL = "demo-1.0-cp312-cp312-musllinux_1_2_x86_64.whl"
WINDOWS = "demo-1.0-cp311-cp311-win_amd64.whl"
MACOS = "demo-1.0-cp313-cp313t-macosx_11_0_arm64.whl"
STABLE = "demo-1.0-cp39-abi3-win32.whl"
PURE = "demo-1.0-py2.py3-none-any.whl"
LATER = "demo-1.0-py310-none-any.whl"
PYPY = "demo-1.0-pp310-pypy310_pp73-win_amd64.whl"
SOURCE = "demo-1.0.tar.gz"
EGG = "demo-1.0-py2.7-linux-x86_64.egg"
PLAIN_EGG = "demo-1.0-py2.7.egg"
INSTALLER = "demo-1.0.win-amd64-py3.12.exe"
DUMB = "demo-1.0.linux-x86_64.tar.gz"
ALL = (LINUX, MUSL, WINDOWS, MACOS, STABLE, PURE, LATER, PYPY, SOURCE, EGG, PLAIN_EGG, INSTALLER, DUMB)


def let_in(upstream: Upstream) -> set[str]:
    return {name for name in ALL if broken_limit(upstream, remote_file(name)) is None}


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        ((), set(ALL)),
        (("wheel",), {LINUX, MUSL, WINDOWS, MACOS, STABLE, PURE, LATER, PYPY}),
        (("sdist", "bdist_egg"), {SOURCE, EGG, PLAIN_EGG}),
        (("nonsense",), set()),
    ],
)
def test_formats(formats: tuple[str, ...], expected: set[str]) -> None:
    assert let_in(replace(PUBLIC, formats=formats)) == expected


@pytest.mark.parametrize(
    ("platforms", "expected"),
    [
        (("linux",), {LINUX, PURE, LATER, SOURCE, EGG, PLAIN_EGG}),
        (("linux", "musl"), {LINUX, MUSL, PURE, LATER, SOURCE, EGG, PLAIN_EGG}),
        (("windows",), {WINDOWS, STABLE, PYPY, PURE, LATER, SOURCE, PLAIN_EGG, INSTALLER}),
        (("win_amd64",), {WINDOWS, PYPY, PURE, LATER, SOURCE, PLAIN_EGG, INSTALLER}),
        (("macosx_*_arm64",), {MACOS, PURE, LATER, SOURCE, PLAIN_EGG}),
    ],
)
def test_platforms(platforms: tuple[str, ...], expected: set[str]) -> None:
    assert let_in(replace(PUBLIC, platforms=platforms)) == expected


@pytest.mark.parametrize(
    ("pythons", "expected"),
    [
        (("3.12",), {LINUX, MUSL, STABLE, PURE, LATER, SOURCE, INSTALLER}),
        (("3.9",), {STABLE, PURE, SOURCE}),
        (("3.8",), {PURE, SOURCE}),
        (("3.10",), {STABLE, PURE, LATER, PYPY, SOURCE}),
        (("2.7",), {PURE, SOURCE, EGG, PLAIN_EGG}),
        (("3",), {LINUX, MUSL, WINDOWS, MACOS, STABLE, PURE, LATER, PYPY, SOURCE, INSTALLER}),
        (("cp311",), {WINDOWS, STABLE, PURE, LATER, SOURCE}),
        (("pp310",), {PYPY, PURE, LATER, SOURCE}),
        (("cp31?",), {LINUX, MUSL, WINDOWS, MACOS, PURE, LATER, SOURCE, INSTALLER}),
    ],
)
def test_pythons(pythons: tuple[str, ...], expected: set[str]) -> None:
    assert let_in(replace(PUBLIC, pythons=pythons)) == expected


def test_sizes() -> None:
    upstream = replace(PUBLIC, max_file_size=1000)
    sizes = {size: broken_limit(upstream, remote_file(PURE, size=size)) for size in (None, 999, 1000, 1001)}
    assert [size for size, broken in sizes.items() if broken is not None] == [1001]


def test_a_refusal_names_its_rule() -> None:
    limits = [("formats", "wheel"), ("platforms", "linux"), ("pythons", "3.12")]
    rules = [(broken_limit(replace(PUBLIC, **{name: (word,)}), remote_file(DUMB)) or ("",))[0] for name, word in limits]
    assert rules == ["formats", "platforms", "pythons"]
