"""No command and no setting ends in a traceback, whatever it is given: every mistake is a sentence.

Made from the tables of commands and settings, so what is added there is tried here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pypiserver.errors import ConfigError
from pypiserver.server import tls_files
from tests.certificates import make_certificate
from tests.make_archives import make_wheel

from ..commandline import pypi_server

WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")
# What no port is listening at, so that it is refused at once.
AWAY = "127.0.0.1:9"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package, a working directory without anything, and an environment in which nothing is far off."""
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / WHEEL).write_bytes(WHEEL_BYTES)
    (tmp_path / "bucket").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{AWAY}")
    return packages


def certificate_faults(certificate: Path, key: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        tls_files.check(certificate, key)
    return str(caught.value)


def test_a_certificate_that_cannot_be_used_is_named_with_its_flag(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    good, other = make_certificate(tmp_path), make_certificate(tmp_path / "other")
    noise = tmp_path / "noise"
    noise.write_bytes(b"no PEM")
    tls_files.check(good.chain, good.key)
    assert certificate_faults(good.chain, other.key).startswith(f"--key: the key {other.key} is not that of")
    assert certificate_faults(noise, good.key).startswith(f"--certificate: the file {noise} holds no certificate")
    assert certificate_faults(good.chain, noise).startswith(f"--key: the file {noise} holds no private key")
    assert "cannot be read (No such file" in certificate_faults(tmp_path / "missing", good.key)
    assert "cannot be read (Is a directory" in certificate_faults(good.chain, tmp_path)


def test_config_check_finds_a_certificate_that_cannot_be_used(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.pem"
    done = pypi_server(capsys, "config", "check", "--certificate", missing, "--key", missing, "--root", shelf)
    assert (
        done[0] == 1 and done.err == f"--certificate: the file {missing} cannot be read (No such file or directory).\n"
    )
