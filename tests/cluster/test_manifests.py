"""The chart, the plain manifests and the compose file: read by their own tools, and by the server they start.

When the chart changes, write the plain manifests again: python tests/cluster/test_manifests.py
"""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest

from pypiserver.cli import parser
from pypiserver.cli.commands.run import Run
from pypiserver.settings.config import SETTINGS
from tests.cluster.manifests import CHECK_COMPOSE, COMPOSE, KUBERNETES, ask, interpolated, load, rendered, validated

HEAD = """\
# Three to ten replicas over a bucket and PostgreSQL, made by Helm of the chart in ../helm/pypiserver and values.yaml.
# Before it, make the secrets that it names:
#
#   pypi-server passwd .htpasswd NAME
#   kubectl create secret generic pypiserver-passwords --from-file=.htpasswd
#   kubectl create secret generic pypiserver-catalog --from-literal=catalog=postgresql://USER:PASSWORD@HOST/DATABASE
#   kubectl create secret generic pypiserver-storage \\
#     --from-literal=AWS_ACCESS_KEY_ID=KEY --from-literal=AWS_SECRET_ACCESS_KEY=SECRET
"""
PLAIN = KUBERNETES / "pypiserver.yaml"
BUCKET = {"storage": {"url": "s3://b"}, "catalog": {"secretName": "c"}}
FOLDER = {"persistence": {"enabled": True}}
VALUES: dict[str, dict[str, Any]] = {
    "bucket": BUCKET,
    "folder": FOLDER,
    "one pod with a bucket": {"storage": {"url": "gs://b"}, "replicaCount": 1},
    "everything": {
        **BUCKET,
        "storage": {"url": "s3://b", "publicEndpoint": "https://store.example"},
        "auth": {"actions": "update,download,list", "credentials": {"ada": "$2y$05$x", "bob": "$2y$05$y"}},
        "ingress": {"enabled": True, "className": "nginx", "tls": [{"secretName": "t", "hosts": ["pypi.example"]}]},
        "autoscaling": {"enabled": True, "maxReplicas": 20},
        "server": {"extraArgs": ["--disable-fallback", "-v"], "extraEnv": [{"name": "A", "value": "b"}]},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:x"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "nodeSelector": {"e": "f"},
        "tolerations": [{"key": "g", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "h"}],
        "service": {"annotations": {"i": "j"}},
    },
    "open to all": {**FOLDER, "auth": {"actions": "."}},
    "claim of the house": {"persistence": {"enabled": True, "existingClaim": "packages"}},
}
by_values = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)


def documents(values: dict[str, Any]) -> list[Any]:
    made: list[Any] = rendered(values)["documents"]
    return made


def of_kind(made: list[Any], kind: str) -> Any:
    (found,) = [each for each in made if each["kind"] == kind]
    return found


def container(made: list[Any]) -> Any:
    (found,) = of_kind(made, "Deployment")["spec"]["template"]["spec"]["containers"]
    return found


@by_values
def test_helm_finds_no_fault_and_kubernetes_knows_every_field(values: dict[str, Any]) -> None:
    answer = rendered(values)
    # An icon, which Helm recommends, would be fetched from somewhere.
    assert [each for each in answer["lint"] if "icon" not in each["error"]] == []
    assert answer["faults"] == []
    assert {each["kind"] for each in answer["documents"]} >= {"Deployment", "Service", "PodDisruptionBudget"}


@by_values
def test_the_server_understands_how_it_is_started(values: dict[str, Any]) -> None:
    made = container(documents(values))
    assert isinstance(parser.parse(made["args"], {}), Run)
    names = [each["name"].removeprefix("PYPISERVER_").lower() for each in made["env"] if "PYPISERVER" in each["name"]]
    known = {*SETTINGS, *(f"{name}_file" for name in SETTINGS)}
    assert set(names) <= known


def test_a_pod_needs_no_privilege_and_writes_to_its_spool_only() -> None:
    made = documents(VALUES["everything"])
    pod = of_kind(made, "Deployment")["spec"]["template"]["spec"]
    one = container(made)
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    # Any user will do.
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    writable = [each["mountPath"] for each in one["volumeMounts"] if not each.get("readOnly")]
    assert writable == ["/spool"]
    assert {"name": "TMPDIR", "value": "/spool"} in one["env"]


def test_a_pod_knows_where_clients_reach_the_store() -> None:
    variable = {"name": "PYPISERVER_PUBLIC_STORAGE_ENDPOINT", "value": "https://store.example"}
    assert variable in container(documents(VALUES["everything"]))["env"]
    assert variable["name"] not in [each["name"] for each in container(documents(BUCKET))["env"]]


def test_a_pod_has_time_to_drain_and_to_end() -> None:
    made = documents({**BUCKET, "server": {"drainSeconds": 20}})
    pod = of_kind(made, "Deployment")["spec"]["template"]["spec"]
    probe = container(made)["readinessProbe"]
    assert {"name": "PYPISERVER_DRAIN_SECONDS", "value": "20"} in container(made)["env"]
    assert pod["terminationGracePeriodSeconds"] >= 20 + 10
    assert probe["periodSeconds"] * probe["failureThreshold"] < 20
    assert probe["httpGet"]["path"] == "/health/ready"
    assert container(made)["livenessProbe"]["httpGet"]["path"] == "/health/live"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "There is no place for packages"),
        ({"storage": {"url": "s3://b"}}, "needs a database they share: set catalog.secretName"),
        ({"storage": {"url": "s3://b"}, "replicaCount": 1, "autoscaling": {"enabled": True}}, "catalog.secretName"),
        ({**BUCKET, **FOLDER}, "choose one"),
    ],
    ids=["nothing", "bucket without a database", "bucket that may grow", "bucket and folder"],
)
def test_what_cannot_work_is_said_before_it_is_installed(values: dict[str, Any], words: str) -> None:
    assert words in rendered(values)["error"]


def test_credentials_become_a_password_file() -> None:
    made = documents(VALUES["everything"])
    assert of_kind(made, "Secret")["stringData"][".htpasswd"] == "ada:$2y$05$x\nbob:$2y$05$y\n"


def test_names_of_older_charts_are_all_there() -> None:
    values = load(KUBERNETES.parent / "helm" / "pypiserver" / "values.yaml")
    assert {"actions", "credentials", "secretName"} <= set(values["auth"])
    assert {"persistence", "ingress", "autoscaling", "resources", "nodeSelector", "tolerations"} <= set(values)
    assert "extraArgs" in values["server"]


def plain() -> str:
    text: str = rendered(load(KUBERNETES / "values.yaml"))["text"]
    return HEAD + text


def test_the_plain_manifests_are_what_the_chart_makes() -> None:
    assert PLAIN.read_text() == plain()
    assert validated(PLAIN.read_text())["faults"] == []


@functools.cache
def compose_file() -> dict[str, Any]:
    """What the compose specification makes of it, with the variables that it says must be set."""
    text = interpolated(COMPOSE.read_text(), {"DATABASE_PASSWORD": "d", "STORE_SECRET": "s"})
    return ask(CHECK_COMPOSE, text=text)


def test_the_compose_file_is_one() -> None:
    answer = compose_file()
    assert answer["names"] == ["bucket", "database", "nginx", "replica-1", "replica-2", "replica-3", "store"]
    (compose,) = answer["documents"]
    replica = compose["services"]["replica-1"]
    assert replica == compose["services"]["replica-3"]
    assert replica["read_only"] and replica["cap_drop"] == ["ALL"] and "ports" not in replica
    names = [name.removeprefix("PYPISERVER_").lower() for name in replica["environment"] if "PYPISERVER" in name]
    assert set(names) <= set(SETTINGS)


def test_the_compose_file_changes_every_address_of_the_nginx_configuration() -> None:
    (compose,) = compose_file()["documents"]
    configuration = (KUBERNETES.parent / "cluster" / "nginx.conf").read_text()
    pairs = re.findall(r"s/([^/]+)/([^/]+)/'", compose["services"]["nginx"]["command"][2])
    for old, new in pairs:
        assert old in configuration, old
        configuration = configuration.replace(old, new)
    assert re.findall(r"^[^#\n]*127\.0\.0\.(?:1:|53)", configuration, re.MULTILINE) == []
    assert {f"replica-{number}:8080" for number in (1, 2, 3)} <= set(re.findall(r"server (\S+)", configuration))


if __name__ == "__main__":
    PLAIN.write_text(plain())
