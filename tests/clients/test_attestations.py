"""Attestations that twine and uv send along: kept, served, and refused where they are about something else."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.harness import PASSWORD, GetClient, Serve, get, listed, page
from tests.clients.samples import add_project
from tests.clients.uploaders import built, stored, twine, uv


def attest(path: Path, *, name: str | None = None) -> dict[str, Any]:
    """An attestation that no one signed, but of the form that signed ones have (PEP 740), next to its file."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name or path.name, "digest": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": None,
    }
    attestation = {
        "version": 1,
        "verification_material": {
            "certificate": base64.b64encode(b"a certificate").decode(),
            "transparency_entries": [{"logIndex": "1"}],
        },
        "envelope": {
            "statement": base64.b64encode(json.dumps(statement).encode()).decode(),
            "signature": base64.b64encode(b"a signature").decode(),
        },
    }
    path.with_name(f"{path.name}.publish.attestation").write_text(json.dumps(attestation))
    return attestation


@pytest.mark.parametrize("name", ["twine", "uv"])
def test_attestations_are_kept_and_served(
    name: str, client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    server = serve("-P", password_file)
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    attested = {filename: attest(project / "dist" / filename) for filename in built(project)}
    upload, options = (twine, ["--attestations", "--verbose"]) if name == "twine" else (uv, [])
    status, output = upload(client(name), project, f"{server.url}/", PASSWORD, *options)
    assert status == 0, output
    files = page(server, "newcomer")
    assert set(files) == set(attested)
    for filename, attestation in attested.items():
        assert files[filename]["provenance"] == f"{server.url}/packages/{filename}.provenance"
        provenance = get(files[filename]["provenance"])
        assert (packages / f"{filename}.provenance").read_bytes() == provenance
        (bundle,) = json.loads(provenance)["attestation_bundles"]
        assert bundle["attestations"] == [attestation]
        # By the library of those who check them.
        checker = "import pypi_attestations, sys; pypi_attestations.Attestation.model_validate_json(sys.argv[1])"
        client("attestations").run("python", "-c", checker, json.dumps(bundle["attestations"][0]))


@pytest.mark.parametrize("name", ["twine", "uv"])
def test_an_attestation_of_another_file_is_refused(
    name: str, client: GetClient, serve: Serve, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    server = serve("-P", password_file)
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    for filename in built(project):
        attest(project / "dist" / filename, name="other-1.0.tar.gz")
    upload, options = (twine, ["--attestations", "--verbose"]) if name == "twine" else (uv, [])
    status, output = upload(client(name), project, f"{server.url}/", PASSWORD, *options)
    assert status != 0
    assert "another file name" in output
    assert stored(packages) == {}
    assert listed(server.url, "newcomer") == []
