"""File names: the table of what the field named its files, and what no name may do."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.distributions.filename import FilenameParts, check_upload_filename, parse_filename
from pypiserver.distributions.filename_keys import file_key
from pypiserver.errors import InvalidFilename
from tests.raising import raises

NAMES = [
    # legacy names, each of which someone once published
    ("pytz-2012b.tar.bz2", "pytz", "2012b", "sdist"),
    ("gevent-1.0b1.win32-py2.6.exe", "gevent", "1.0b1", "bdist_wininst"),
    ("gevent-1.0b1.win-amd64-py2.7.msi", "gevent", "1.0b1", "bdist_msi"),
    ("greenlet-0.3.4-py3.1-win-amd64.egg", "greenlet", "0.3.4", "bdist_egg"),
    ("greenlet-0.3.4-py2.7-linux-x86_64.egg", "greenlet", "0.3.4", "bdist_egg"),
    ("package-name-0.0.1.dev0.macosx-10.10-intel.tar.gz", "package-name", "0.0.1.dev0", "bdist_dumb"),
    ("A100-200-XYZ-1.2.3.zip", "A100-200-XYZ", "1.2.3", "sdist"),
    ("flup-123-1.0.3.dev-20110405.tar.gz", "flup-123", "1.0.3.dev-20110405", "sdist"),
    ("package-1.3.7+build.11.e0f985a.zip", "package", "1.3.7+build.11.e0f985a", "sdist"),
    ("package-v1.1-8.1.301.ga0df26f.zip", "package-v1.1", "8.1.301.ga0df26f", "sdist"),
    ("package-123-1.0.0-alpha.1.zip", "package-123", "1.0.0-alpha.1", "sdist"),
    ("pyelasticsearch-0.5-brainbot-1-20130712.zip", "pyelasticsearch", "0.5-brainbot-1-20130712", "sdist"),
    ("package.zip", "package", "", "sdist"),
    ("python-owasp-zap-v2.4-0.0.8.tar.gz", "python-owasp-zap-v2.4", "0.0.8", "sdist"),
    ("foo-1.0-1.tar.gz", "foo", "1.0-1", "sdist"),
    ("x86-64-tools-1.0.tar.gz", "x86-64-tools", "1.0", "sdist"),
    ("zope.interface-4.0.tar.gz", "zope.interface", "4.0", "sdist"),
    ("py-linux-3.0.tar.gz", "py-linux", "3.0", "sdist"),
    ("foo-1.0.linux-x86_64.tar.gz", "foo", "1.0", "bdist_dumb"),
    ("foo-v1.0.zip", "foo", "v1.0", "sdist"),
    # without a dot the last dash counts
    ("plot-3d-20240101.tar.gz", "plot-3d", "20240101", "sdist"),
    ("oauth-2-5.tar.gz", "oauth-2", "5", "sdist"),
    ("data-2-20240101.zip", "data-2", "20240101", "sdist"),
    ("lib-2d-1.tar.gz", "lib-2d", "1", "sdist"),
    ("zope.data-2-20240101.zip", "zope.data-2", "20240101", "sdist"),
    ("tool-3-1.win32.exe", "tool-3", "1", "bdist_wininst"),
    ("foo-2-rc1.zip", "foo", "2-rc1", "sdist"),
    # wheels: the build number is no part of the version, and old names have dots and capitals
    ("pywin32-217-55-cp27-none-win32.whl", "pywin32", "217", "bdist_wheel"),
    ("x-1.0-2-py3-none-any.whl", "x", "1.0", "bdist_wheel"),
    ("Products.foo-1.0-py3-none-any.whl", "Products.foo", "1.0", "bdist_wheel"),
    ("foo_bar-1.0+abc.1-cp312-cp312-manylinux_2_17_x86_64.whl", "foo_bar", "1.0+abc.1", "bdist_wheel"),
    # names of today
    ("foo_bar-1.0.post1.tar.gz", "foo_bar", "1.0.post1", "sdist"),
    ("foo-2.tar.gz", "foo", "2", "sdist"),
    ("foo-1!2.0.tar.gz", "foo", "1!2.0", "sdist"),
    # a name alone may look like a version, or like one with a platform
    ("1.0.tar.gz", "1.0", "", "sdist"),
    ("2.0.post1.zip", "2.0.post1", "", "sdist"),
    ("foo.linux-1.0.tar.gz", "foo.linux", "1.0", "sdist"),
    ("foo.win32-1.0rc1.zip", "foo.win32", "1.0rc1", "sdist"),
    # endings in capitals
    ("foo-1.0.TAR.GZ", "foo", "1.0", "sdist"),
    ("foo-1.0.Tgz", "foo", "1.0", "sdist"),
    ("foo-1.0.tar.xz", "foo", "1.0", "sdist"),
    ("FOO-1.0-PY3-NONE-ANY.WHL", "FOO", "1.0", "bdist_wheel"),
    ("foo-1.0-py3.6.EGG", "foo", "1.0", "bdist_egg"),
]


@pytest.mark.parametrize(("filename", "name", "version", "kind"), NAMES, ids=[row[0] for row in NAMES])
def test_a_file_name_says_name_version_and_kind(filename: str, name: str, version: str, kind: str) -> None:
    dist = parse_filename(filename)
    assert (dist.name, dist.version, dist.kind) == (name, version, kind)


def test_every_part_of_a_name() -> None:
    assert parse_filename("Foo.Bar-1.0-2-cp311-abi3-linux_x86_64.whl") == FilenameParts(
        "Foo.Bar-1.0-2-cp311-abi3-linux_x86_64.whl",
        "foo-bar",
        "Foo.Bar",
        "1.0",
        "bdist_wheel",
        "cp311",  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    "filename",
    [
        "some_file",
        "some_wheel.whl",
        "foo-1.0.tar.gz.asc",
        "",
        ".whl",
        "-1.0.zip",
        "foo-1.0-variants.json",
        "setup.exe",
        "foo.egg",
        "a/foo-1.0.zip",
        "foo\n-1.0.zip",
        "foo-1.0 beta.zip",
        "onyx-1.0-py3-none-any (2).whl",
        "onyx-1.0-py3-none-any copy.whl",
        "onyx-1.0-1 copy-py3-none-any.whl",
        "onyx-1.0-py3 (2)-none-any.whl",
        "onyx-1.0-py3.6 (2).egg",
        "onyx-1.0-py3.6-linux-x86_64 copy.egg",
        "onyx-1.0 (2).tar.gz",
        "onyx-1.0.win32 copy.exe",
        "x" * 300 + "-1.0.zip",
    ],
)
def test_what_names_no_distribution_is_refused_with_a_reason(filename: str) -> None:
    with raises(InvalidFilename, filename=filename):
        parse_filename(filename)


@pytest.mark.parametrize(
    "filename",
    [
        "../foo-1.0.zip",
        ".foo-1.0.zip",
        "package.zip",
        "föö-1.0.zip",
        "foo-1.0.zip\0",
        "a" * 200 + "-1.0.zip",
        "foo bar-1.0.zip",
        "foo%2f-1.0.zip",
        "foo-1.0.txt",
    ],
)
def test_an_upload_needs_a_strict_name(filename: str) -> None:
    with raises(InvalidFilename, filename=filename):
        check_upload_filename(filename)


def test_files_of_one_version_sort_by_name() -> None:
    names = ["foo-1.0-py3-none-any.whl", "foo-1.0.tar.gz", "foo-1.1.tar.gz"]
    files = [parse_filename(name) for name in reversed(names)]
    assert [file.filename for file in sorted(files, key=file_key)] == names


PIECES = st.sampled_from(
    ["foo", "Bar", "1.0", "2012b", "-", "_", ".", "v", "py3", "none", "any", "linux", "win32", "+", "!", " "]
)
ENDINGS = st.sampled_from([".whl", ".zip", ".tar.gz", ".egg", ".exe", ".msi", ".tgz", ""])


@given(st.one_of(st.text(max_size=80), st.builds("".join, st.lists(PIECES, max_size=12))), ENDINGS)
def test_any_name_is_read_or_refused(stem: str, ending: str) -> None:
    try:
        dist = parse_filename(stem + ending)
    except InvalidFilename:
        return
    assert dist.filename == stem + ending
    assert dist.name in dist.filename and dist.version in dist.filename
    assert dist.project


@pytest.mark.parametrize("piece", ["-1", "a-", "-v1.", "1.", ".linux-", "-py3"])
def test_reading_takes_linear_time(piece: str) -> None:
    """The longest name allowed takes well under a millisecond; backtracking would take seconds."""
    name = (piece * 250)[:244] + ".tar.gz"
    began = time.process_time()
    for ending in (".tar.gz", ".whl", ".egg", ".exe"):
        try:
            parse_filename(name[:-7] + ending)
        except InvalidFilename:
            continue
    assert time.process_time() - began < 0.5
