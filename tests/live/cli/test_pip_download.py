"""The pip command of an update, run."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.cli import parser
from pypiserver.cli.commands.update import Update
from tests.fake_index import FakeIndex
from tests.make_archives import make_wheel
from tests.unit.cli.test_update import index, plain_environment

__all__ = ["index", "plain_environment"]

pytestmark = pytest.mark.live


def test_the_real_pip_downloads_what_was_found(
    index: FakeIndex, put: Callable[..., Path], root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    put("old/" + make_wheel("small-package", "1.0")[0], make_wheel("small-package", "1.0")[1])
    name, data = make_wheel("small-package", "1.1")
    index.add("small-package", name)
    index.files[name] = data
    index.login = "me:secret"
    url = index.url.replace("//", "//me:secret@")
    out, err = io.StringIO(), io.StringIO()
    command = parser.parse(["-Ux", "--index-url", url, str(root)], {})
    assert isinstance(command, Update)
    assert command.run(out, err) == 0, (out.getvalue(), err.getvalue(), capfd.readouterr())
    assert (root / "old" / name).read_bytes() == data
    assert "secret" not in out.getvalue() + err.getvalue() + "".join(capfd.readouterr())
