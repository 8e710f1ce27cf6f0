"""Every proxy configuration that we print, ship or document sets or clears each forwarding header.

A header that a proxy does not set itself is passed on as a client sent it. What real proxies make of these
configurations is in tests/clients/test_forwarding.py.
"""

from __future__ import annotations

import re

import pytest
import yaml

from pypiserver.__main__ import main
from tests.clients.fronts import documented, documented_https
from tests.live_server import REPOSITORY

HOWTO = REPOSITORY / "docs" / "howto"
NAMES = ("X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Forwarded-For", "Forwarded")
# One with _ for any of its hyphens is the same header to some servers.
SPELLINGS = {
    f"X{first}Forwarded{second}{name.rpartition('-')[2]}"
    for name in NAMES
    if "-" in name
    for first, second in ("-_", "_-", "__")
}


def nginx_names(block: str) -> set[str]:
    return {name for name in NAMES if re.search(rf"proxy_set_header\s+{name}\s+\S", block)}


@pytest.mark.parametrize("name", [*documented(), "https"])
def test_nginx_as_documented(name: str) -> None:
    block = documented_https() if name == "https" else documented()[name][0]
    assert nginx_names(block) == set(NAMES)
    # A location with one line of its own would inherit none of them.
    assert not re.search(r"location [^\n]*\{[^}]*proxy_set_header", block)


@pytest.mark.parametrize("flags", [(), ("--server-base-url", "https://pypi.example/pypi/"), ("-a", "update,list")])
def test_nginx_as_printed(flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nginx", *flags, "-P", "htpasswd", "/srv/packages"]) == 0
    block = capsys.readouterr().out
    assert nginx_names(block) == set(NAMES)
    # A location with one line of its own would inherit none of them.
    assert block.rindex("proxy_set_header") < block.index("location ")
    assert "underscores_in_headers" not in block


@pytest.mark.parametrize("file", sorted((HOWTO / "cluster").glob("*.conf")), ids=lambda path: path.name)
def test_nginx_of_the_cluster(file: object) -> None:
    whole = (HOWTO / "cluster" / "nginx.conf").read_text("utf-8")
    assert nginx_names(whole[: whole.index("location ")]) == set(NAMES)
    page = (HOWTO / "cluster" / "page-cache.conf").read_text("utf-8")
    assert "proxy_set_header" not in page, "it would inherit none"


def test_haproxy_of_the_cluster() -> None:
    text = (HOWTO / "cluster" / "haproxy.cfg").read_text("utf-8")
    (pattern,) = re.findall(r"^  http-request del-header (\S+) -m reg$", text, re.MULTILINE)
    assert all(re.search(pattern, name.lower()) for name in {*NAMES, *SPELLINGS} - {"Forwarded"})
    # In this order, or what it sets would be deleted.
    words = ["del-header Forwarded\n", pattern, "option forwardfor", "set-header X-Forwarded-Proto"]
    assert [text.index(word) for word in words] == sorted(text.index(word) for word in words)


def test_apache_as_documented() -> None:
    page = (HOWTO / "reverse-proxy.rst").read_text("utf-8")
    unset = re.findall(r"RequestHeader unset (\S+)", page)
    # X-Forwarded-Proto is set; Apache adds to Host and For.
    assert set(unset) == {*NAMES, *SPELLINGS} - {"X-Forwarded-Proto"}
    assert page.index("RequestHeader set   X-Forwarded-Proto") > page.rindex("RequestHeader unset")


def test_traefik_of_the_compose_file() -> None:
    service = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text("utf-8"))["services"]["tls"]
    labels = dict(each.split("=", 1) for each in service["labels"])
    start = "traefik.http.middlewares.pypiserver.headers.customrequestheaders."
    deleted = {name.removeprefix(start) for name, value in labels.items() if name.startswith(start) and value == ""}
    # The others are Traefik's own: it sets them, and drops what clients sent.
    assert deleted == {*NAMES, *SPELLINGS} - {"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For"}
    assert labels["traefik.http.routers.pypiserver.middlewares"] == "pypiserver"


@pytest.mark.parametrize("file", ["kubernetes/pypiserver.yaml"])
def test_kubernetes_names_what_its_ingress_sets(file: str) -> None:
    """An Ingress cannot delete headers in a way that every controller knows; so the server believes two only."""
    documents = list(yaml.safe_load_all((HOWTO / file).read_text("utf-8")))
    (container,) = [
        each
        for document in documents
        if document["kind"] == "Deployment"
        for each in document["spec"]["template"]["spec"]["containers"]
    ]
    values = {each["name"]: each.get("value") for each in container["env"]}
    assert values["PYPISERVER_FORWARDED_HEADERS"] == "proto,for"
