"""The layers of ``docs/design.rst``, held against every import in ``pypiserver/``."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
CODE = TOP / "pypiserver"
DESIGN = TOP / "docs" / "design.rst"
FRONT = ("__init__", "__main__")
# Where a product may be imported, by units of the plan. The type of normalized names is no more than a str.
PRODUCTS = {
    "bottle": {"web", "server.run", "cli.deploy_files", "__init__", "bottle", "bottle_wrapper"},
    "gevent": {"server.green_threads"},
    "eventlet": {"server.green_threads"},
    "bcrypt": {"access.password_hashes"},
    "watchdog": {"folder.fs_events"},
    "prometheus_client": {"observability.metrics"},
    "tomli": {"settings.toml_file", "cli.lock_files"},
    "waitress": {"server.run_waitress"},
    "granian": {"server.granian_server", "server.granian_scheduler"},
    "gunicorn": {"server.run_gunicorn"},
    "pip": {"settings.config"},
    "psycopg": {"catalog.postgres.driver"},
    "packaging.utils": {"distributions.filename", "distributions.versions", "cli.update"},
    "packaging.version": {"distributions.versions", "cli.update", "upstream.client", "cli.pip_download"},
    "packaging.specifiers": {"distributions.core_metadata", "distributions.version_ranges", "cli.update"},
    "packaging.requirements": {"distributions.core_metadata"},
    "packaging.tags": {"cli.update"},
    "readme_renderer": {"web.html.renderer_worker"},
    "obstore": {"bucket.object_store"},
    "urllib3": {"upstream.http_client", "upstream.connections", "upstream.authorities"},
    "certifi": {"upstream.authorities"},
}
# tomllib came with Python 3.11.
STANDARD = sys.stdlib_module_names | {"tomllib"}
TYPES = {"packaging.utils.NormalizedName"}
# Who imports by a name made at run time: passlib's handlers, whichever zstd there is.
BY_NAME = {"access.password_hashes", "web.http.compression"}
SEES_SETTINGS = {"cli", "factory", "observability", "settings", "config", *FRONT}


@dataclass(frozen=True)
class Import:
    """One imported name, ``target`` in full with dots, seen in the module ``importer``."""

    importer: str
    target: str
    line: int

    @property
    def is_ours(self) -> bool:
        return self.target.partition(".")[0] == "pypiserver"

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


@functools.cache
def modules() -> dict[str, Path]:
    """Every module by its name below ``pypiserver``; a package's own is ``web.__init__``."""
    paths = sorted(CODE.rglob("*.py"))
    return {".".join(path.relative_to(CODE).with_suffix("").parts): path for path in paths}


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    """All that a module is made of."""
    return list(ast.walk(ast.parse(path.read_text("utf-8"), str(path))))


def imports_of(name: str, path: Path) -> Iterator[Import]:
    """Every import anywhere in a module, in functions and below ``if TYPE_CHECKING`` too."""
    package = ("pypiserver." + name).rpartition(".")[0].split(".")
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(name, f"{prefix}.{alias.name}", node.lineno)


@functools.cache
def imports() -> list[Import]:
    """Every import of every module."""
    return [each for name, path in modules().items() for each in imports_of(name, path)]


def unit(name: str) -> str:
    """The unit of the plan a module belongs to: its package, or itself."""
    return name.partition(".")[0]


@functools.cache
def layers() -> dict[str, int]:
    """Each unit's layer in the plan, 0 at the bottom."""
    lines = DESIGN.read_text("utf-8").partition("``tests/unit/test_architecture.py``")[2].partition("::\n\n")[2]
    block = lines.partition("\n\n")[0].splitlines()
    return {name: number for number, line in enumerate(reversed(block)) for name in line.split()}


def module_of(target: str) -> str:
    """The module of ours an imported name is, or is in."""
    path = target.removeprefix("pypiserver").strip(".")
    known = modules()
    while path:
        if path in known:
            return path
        if f"{path}.__init__" in known:
            return f"{path}.__init__"
        path = path.rpartition(".")[0]
    return "__init__"


def test_every_module_is_in_the_plan_once() -> None:
    lines = DESIGN.read_text("utf-8").partition("``tests/unit/test_architecture.py``")[2].partition("::\n\n")[2]
    names = lines.partition("\n\n")[0].split()
    assert len(names) == len(set(names)) > 20
    assert {unit(name) for name in modules()} <= set(names)


def test_imports_only_go_down() -> None:
    plan = layers()
    wrong = []
    for each in imports():
        if each.is_ours:
            importer, imported = unit(each.importer), unit(module_of(each.target))
            if importer != imported and plan[imported] >= plan[importer]:
                wrong.append(str(each))
    assert wrong == []


def test_folders_and_buckets_know_nothing_of_each_other() -> None:
    sides = {"folder", "bucket"}
    crossing = [
        each for each in imports() if each.is_ours and {unit(each.importer), unit(module_of(each.target))} == sides
    ]
    assert crossing == []


def test_only_the_factory_knows_of_folders_and_buckets() -> None:
    """All others speak to the value it makes (``backend.backend``)."""
    sides = {"folder", "bucket"}
    wrong = [
        str(each)
        for each in imports()
        if each.is_ours
        and (side := unit(module_of(each.target))) in sides
        and unit(each.importer) != side
        and each.importer != "factory.backends"
    ]
    assert wrong == []


def test_no_one_asks_which_side_or_database_it_is() -> None:
    """Failures apart, ``isinstance`` never names a class of folders, buckets or catalogs."""
    defined = {
        node.name
        for name, path in modules().items()
        if unit(name) in {"folder", "bucket", "catalog", "backend"}
        for node in nodes_of(path)
        if isinstance(node, ast.ClassDef) and not is_failure(node)
    }
    wrong = []
    for name, path in modules().items():
        for node in nodes_of(path):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
                named = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
                wrong += [f"{name}:{node.lineno} asks for {each}" for each in named & defined]
    assert wrong == []


def is_failure(node: ast.ClassDef) -> bool:
    """Whether a class is one of those that are raised, by the names of its bases."""
    return any(ast.unparse(base).endswith(("Error", "Unavailable", "Exception")) for base in node.bases)


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    needs: dict[str, set[str]] = {name: set() for name in modules()}
    for each in imports():
        if each.is_ours:
            needs[each.importer].add(module_of(each.target))
    while free := [name for name, needed in needs.items() if not needed & needs.keys() - {name}]:
        for name in free:
            del needs[name]
    assert needs == {}


def test_settings_end_at_the_factory() -> None:
    """Below the factory the set-up of logging alone sees them."""
    seen = {each.importer for each in imports() if each.is_ours and module_of(each.target) == "settings.config"}
    assert {unit(name) for name in seen} <= SEES_SETTINGS
    assert {name for name in seen if unit(name) == "observability"} == {"observability.logging_setup"}


def third_party() -> Iterator[Import]:
    for each in imports():
        first = each.target.partition(".")[0]
        if not each.is_ours and first not in STANDARD and each.target not in TYPES:
            yield each


def test_each_product_is_imported_where_the_plan_says() -> None:
    wrong = []
    for each in third_party():
        known = [product for product in PRODUCTS if f"{each.target}.".startswith(f"{product}.")]
        places = {place for product in known for place in PRODUCTS[product]}
        if not places & {each.importer, each.importer.partition(".")[0]}:
            wrong.append(str(each))
    assert wrong == []


def test_only_a_few_import_by_a_name_made_at_run_time() -> None:
    found = set()
    for name, path in modules().items():
        for node in nodes_of(path):
            called = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if called.endswith(("import_module", "__import__")):
                found.add(name)
    assert found <= BY_NAME


@pytest.mark.parametrize(
    "code",
    [
        "import pypiserver",
        "import pypiserver; pypiserver.app(roots=['.'])",
        "import pypiserver.__main__, pypiserver.factory.application, pypiserver.folder.fs_events",
    ],
    ids=["import", "construct", "everything"],
)
def test_nothing_starts_because_it_was_imported_or_constructed(code: str, tmp_path: Path) -> None:
    check = (
        "import os, sys, threading; from pathlib import Path\n"
        f"{code}\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert not [path for path in Path('.').rglob('*') if path.is_file()], 'a file was made'\n"
        "assert 'watchdog' not in sys.modules and 'granian' not in sys.modules\n"
    )
    environ = {"PYTHONPATH": str(TOP), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_waits_or_starts_a_process_is_among_the_live_tests() -> None:
    """But what a suite for several storages has in one file, and what asks a database, which ``conftest`` marks."""
    mark = "pytest.mark" + ".live"
    marked = {path.name for path in Path(__file__).parent.rglob("*.py") if mark in path.read_text("utf-8")}
    assert marked == {"conftest.py", "storage_contract.py"}
