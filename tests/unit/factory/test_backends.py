"""Settings that name a place of packages: contradictions are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import pypiserver
from pypiserver.errors import ConfigError
from tests.raising import raises


def test_an_endpoint_that_would_be_preferred_to_the_public_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    settings = {"storage": "s3://bucket", "catalog": tmp_path / "catalog"}
    pypiserver.app(**settings)
    with raises(ConfigError, kind="contradiction", setting="public_storage_endpoint"):
        pypiserver.app(**settings, public_storage_endpoint="https://packages.example")
