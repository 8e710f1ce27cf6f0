"""Helm, the schemas of Kubernetes and the compose specification: run in an environment of their own, asked as JSON."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.clients.environments import ensure
from tests.live_server import REPOSITORY

CHART = REPOSITORY / "docs" / "howto" / "helm" / "pypiserver"
KUBERNETES = REPOSITORY / "docs" / "howto" / "kubernetes"
COMPOSE = REPOSITORY / "docs" / "howto" / "docker-compose.cluster.yml"
# The oldest that the chart allows, and the newest that there are schemas of.
VERSIONS = ("1.25", "1.37")

RENDER = """
import helm_python as helm
answer = {"faults": [], "documents": []}
if given["chart"]:
    answer["lint"] = helm.lint(given["chart"], given["values"], strict=True)["messages"]
    try:
        made = helm.Chart.load(given["chart"]).render(given["values"], name="pypiserver", namespace="default")
    except helm.HelmError as error:
        given["text"], answer["error"] = "", str(error)
    else:
        texts = [text.strip() for _, text in sorted(made.items()) if text.strip()]
        given["text"] = answer["text"] = "".join(f"---\\n{text}\\n" for text in texts)
"""
VALIDATE = """
import kubernetes_validate, yaml
for document in yaml.safe_load_all(given["text"]):
    answer["documents"].append(document)
    for version in given["versions"]:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except Exception as error:
            answer["faults"].append(f"{document.get('kind')} {version}: {error}")
"""
CHECK_COMPOSE = """
import compose_spec, yaml
made = compose_spec.PyCompose.from_yaml(given["text"])
answer = {"documents": [yaml.safe_load(given["text"])], "names": sorted(made.to_dict()["services"])}
"""


def ask(script: str, **given: Any) -> dict[str, Any]:
    """Run one of the scripts; raises AssertionError with what it printed when it fails."""
    python = ensure("manifests") / "python"
    code = f"import json, sys\ngiven = json.load(sys.stdin)\n{script}\nprint(json.dumps(answer, default=str))"
    done = subprocess.run(
        [python, "-c", code], input=json.dumps(given), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def rendered(values: dict[str, Any]) -> dict[str, Any]:
    """What Helm and Kubernetes say of the chart with these values.

    ``lint``, and ``error``, or else ``text``, ``documents`` and ``faults``: every field that is not in the schema.
    """
    return _rendered(json.dumps(values, sort_keys=True))


@functools.cache
def _rendered(values: str) -> dict[str, Any]:
    return ask(RENDER + VALIDATE, chart=str(CHART), values=json.loads(values), versions=VERSIONS)


def validated(text: str) -> dict[str, Any]:
    """The same of manifests that are there already."""
    return ask(RENDER + VALIDATE, chart="", text=text, versions=VERSIONS)


def load(path: Path) -> Any:
    """A YAML file with one document."""
    return ask("import yaml\nanswer = {'made': yaml.safe_load(given['text'])}", text=path.read_text())["made"]


def interpolated(text: str, environ: Mapping[str, str]) -> str:
    """A compose file with its variables put in: ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?what to do}``."""

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        assert name in environ or kind == "-", f"{name} is not set"
        return environ.get(name, default)

    return re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", value, text)
