"""Packages that clients install and upload: small, real, and built without asking any index.

`fill` lays out the shelf most tests serve. Its newest demo is for a Python no one has, so a client that picks 2.0 has
read requires-python; 2.0 needs demo-helper, of which there are two versions.
"""

from __future__ import annotations

import base64
import hashlib
import io
import random
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

SHELF = {"demo": "2.0", "demo-helper": "1.5"}
SHELF_FILES = {
    "demo": ("demo-1.0-py2.py3-none-any.whl", "demo-2.0-py2.py3-none-any.whl", "demo-9.0-py2.py3-none-any.whl"),
    "demo-helper": ("demo_helper-1.0-py2.py3-none-any.whl", "demo_helper-1.5-py2.py3-none-any.whl"),
}
ANY_PYTHON = ">=2.7"
MTIME = 1_577_836_800  # 2020; easy_install cannot unpack files older than 1980
CONSUMERS = {
    "poetry": '[tool.poetry]\npackage-mode = false\n\n[[tool.poetry.source]]\nname = "local"\nurl = "{url}/simple/"\n',
    "pdm": '[tool.pdm]\ndistribution = false\n\n[[tool.pdm.source]]\nname = "pypi"\nurl = "{url}/simple/"\n',
    "uv": '[[tool.uv.index]]\nname = "local"\nurl = "{url}/simple/"\ndefault = true\n',
}
WHEEL = "Wheel-Version: 1.0\nGenerator: samples\nRoot-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n"


def add_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    needs: Sequence[str] = (),
    python: str = ANY_PYTHON,
    summary: str = "a sample",
    metadata_version: str = "2.1",
    ballast: int = 0,
) -> Path:
    """A wheel with one module, which says its version; `ballast` is so many bytes that cannot be compressed."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": metadata(name, version, needs=needs, python=python, summary=summary, form=metadata_version),
        f"{info}/WHEEL": WHEEL,
    }
    if ballast:
        files[f"{module}_ballast.txt"] = base64.b64encode(random.Random(ballast).randbytes(ballast * 3 // 4)).decode()
    record = "".join(f"{path},sha256={record_digest(text)},{len(text.encode())}\n" for path, text in files.items())
    target = folder / f"{module}-{version}-py2.py3-none-any.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED if ballast else zipfile.ZIP_DEFLATED) as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return target


def add_sdist(folder: Path, name: str, version: str, *, needs: Sequence[str] = ()) -> Path:
    """An sdist with a setup.py, the form that old and new clients can build."""
    base = f"{name.replace('-', '_')}-{version}"
    files = project_files(name, version, needs=needs) | {
        "PKG-INFO": metadata(name, version, needs=(), python=ANY_PYTHON, summary="a sample")
    }
    target = folder / f"{base}.tar.gz"
    write_tar(target, {f"{base}/{path}": text.encode() for path, text in files.items()})
    return target


BACKEND = """
import pathlib, shutil


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    (wheel,) = pathlib.Path("built").iterdir()
    shutil.copy(str(wheel), wheel_directory)
    return wheel.name
"""


def add_static_sdist(folder: Path, name: str, version: str, **about: Any) -> Path:
    """An sdist whose metadata may be relied on (2.2, nothing dynamic), and which any client builds without a tool."""
    base = f"{name.replace('-', '_')}-{version}"
    with tempfile.TemporaryDirectory() as temporary:
        wheel = add_wheel(Path(temporary), name, version, metadata_version="2.2", **about)
        with zipfile.ZipFile(wheel) as archive:
            said = archive.read(f"{base}.dist-info/METADATA")
        members = {
            "PKG-INFO": said,
            "pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
            "backend.py": BACKEND.encode(),
            f"built/{wheel.name}": wheel.read_bytes(),
        }
    target = folder / f"{base}.tar.gz"
    write_tar(target, {f"{base}/{path}": data for path, data in members.items()})
    return target


def write_tar(target: Path, members: Mapping[str, bytes]) -> None:
    with tarfile.open(target, "w:gz") as archive:
        for path, data in members.items():
            member = tarfile.TarInfo(path)
            member.size, member.mtime = len(data), MTIME
            archive.addfile(member, io.BytesIO(data))


def metadata(name: str, version: str, *, needs: Sequence[str], python: str, summary: str, form: str = "2.1") -> str:
    lines = [f"Metadata-Version: {form}", f"Name: {name}", f"Version: {version}", f"Summary: {summary}"]
    return "\n".join([*lines, *(f"Requires-Dist: {need}" for need in needs), f"Requires-Python: {python}", ""])


def record_digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def project_files(name: str, version: str, *, needs: Sequence[str] = ()) -> dict[str, str]:
    """A project as it lies on a developer's disk, for setuptools and for flit."""
    module = name.replace("-", "_")
    return {
        "setup.py": (
            "from setuptools import setup\n"
            f"setup(name={name!r}, version={version!r}, py_modules=[{module!r}], install_requires={list(needs)!r},\n"
            "      description='a sample', url='http://samples.example',\n"
            "      author='A', author_email='a@samples.example')\n"
        ),
        f"{module}.py": f'"""A sample."""\n\n__version__ = {version!r}\n',
    }


def add_project(folder: Path, name: str, version: str) -> Path:
    """A project's folder with setup.py and pyproject.toml, and its wheel and sdist in dist/."""
    dist = folder / "dist"
    dist.mkdir(parents=True)
    for path, text in project_files(name, version).items():
        (folder / path).write_text(text)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["flit_core>=3.4"]\nbuild-backend = "flit_core.buildapi"\n\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\ndescription = "a sample"\nrequires-python = ">=3.10"\n'
    )
    add_wheel(dist, name, version)
    add_sdist(dist, name, version)
    return folder


def write_consumer(folder: Path, url: str, tool: str, needs: str = "demo") -> None:
    """A project that depends on demo (or what else it needs), with the index in the tool's own words."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "consumer"\nversion = "1.0"\nrequires-python = ">=3.10"\ndependencies = '
        f'["{needs}"]\n\n' + CONSUMERS[tool].format(url=url)
    )


def shelf_only(found: dict[str, str]) -> dict[str, str]:
    """Without what a new virtual environment brings by itself."""
    return {name: version for name, version in found.items() if name in SHELF}


def fill(folder: Path, add: Callable[..., Path] = add_wheel) -> None:
    add(folder, "demo", "1.0", summary="shows the first things")
    add(folder, "demo", "2.0", needs=["demo-helper>=1.0"], summary="shows more things")
    add(folder, "demo", "9.0", python=">=99", summary="shows what nobody can run")
    add(folder, "demo-helper", "1.0", summary="helps")
    add(folder, "demo-helper", "1.5", summary="helps more")
