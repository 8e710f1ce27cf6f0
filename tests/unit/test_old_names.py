"""What scripts for 1.x and 2.x import from ``pypiserver``, and how they call it."""

from __future__ import annotations

import sys
from pathlib import Path

import bottle
import pytest

import pypiserver
from pypiserver.errors import ConfigError
from pypiserver.settings.config import make_config
from tests.raising import raises

from .wsgi import Client

SCRIPTS = {
    "the bottle of the package": "from pypiserver import bottle; bottle.run",
    "what 2.2 calls it": "from pypiserver import bottle_wrapper; bottle_wrapper.run",
    "a name of it": "from pypiserver.bottle import run, Bottle, request",
    "by way of the package": "import pypiserver; pypiserver.bottle.run; pypiserver.bottle_wrapper.run",
    "the module": "import pypiserver.bottle; pypiserver.bottle.server_names",
    "the module of 2.2": "from pypiserver.bottle_wrapper import run, bottle; bottle.run",
    "all of it": "from pypiserver.bottle import *; run",
    "the version": "import pypiserver; assert pypiserver.version == pypiserver.__version__",
    "the version by name": "from pypiserver import version, __version__",
    "the program": "from pypiserver.__main__ import main; import pypiserver.__main__",
    "the values of 2.x": "from pypiserver import Config, app_from_config; from pypiserver.config import Config",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("before", ["", "import pypiserver; "])
def test_an_import_of_an_old_script_works(script: str, before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pypiserver.bottle", "pypiserver.bottle_wrapper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in ("bottle", "bottle_wrapper"):
        monkeypatch.delitem(vars(pypiserver), name, raising=False)
    exec(before + script, {})


def test_there_is_one_bottle() -> None:
    import pypiserver.bottle
    import pypiserver.bottle_wrapper

    assert pypiserver.bottle is bottle
    assert pypiserver.bottle_wrapper.request is bottle.request
    assert pypiserver.bottle_wrapper.run is bottle.run


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'bottles'"):
        pypiserver.bottles  # noqa: B018


def closed(application: object) -> Client:
    application.close()  # type: ignore[attr-defined]
    return Client(application)  # type: ignore[arg-type]


def test_folders_can_come_first_as_in_1_0(root: Path, tmp_path: Path) -> None:
    assert pypiserver.app(str(root)).config.roots == (root,)
    assert pypiserver.default_config(str(root), port=1) == pypiserver.default_config(roots=[root], port=1)
    assert pypiserver.app(**pypiserver.default_config([root, tmp_path])).config.roots == (root, tmp_path)
    for call in (pypiserver.app, pypiserver.default_config):
        with raises(ConfigError, kind="twice", setting="roots", value="/other"):
            call(str(root), roots="/other")


def test_defaults_can_be_changed_and_given_to_app(root: Path) -> None:
    conf = pypiserver.default_config()
    conf["root"] = str(root)
    conf.update(authenticated=["list"], redirect_to_fallback=False, password_file="f")
    assert pypiserver.app(**conf).config == make_config(
        roots=root, authenticate="list", fallback=False, password_file="f"
    )


def test_a_value_of_2_x_is_made_and_served(root: Path) -> None:
    config = pypiserver.Config.default_with_overrides(roots=[root], authenticate=["list"], server_method="wsgiref")
    assert config == make_config(roots=root, authenticate="list", server="wsgiref")
    assert pypiserver.app_from_config(config).config is config
