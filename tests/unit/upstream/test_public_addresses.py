"""Which addresses are public, in every spelling."""

from __future__ import annotations

import pytest

from pypiserver.upstream.public_addresses import is_public, may_be_public

PUBLIC = [
    "1.1.1.1", "93.184.216.34", "151.101.0.223", "172.15.255.255", "172.32.0.0", "192.167.1.1", "100.63.255.255",
    "100.128.0.0", "198.17.0.1", "223.255.255.255", "2a04:4e42::223", "2606:4700::1111", "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
]  # fmt: skip
PRIVATE = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:10.0.0.1", "::ffff:7f00:1",
    "::ffff:169.254.169.254", "64:ff9b::", "64:ff9b::a00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::1.1.1.1", "100::1",
    "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::", "2002:101:101::1", "3fff::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2606:4700::1111%1", "fec0::1", "ff02::1",
    "5f00::1", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)
    assert may_be_public(f"[{address}]" if ":" in address else address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert not is_public(address)
    assert not may_be_public(f"[{address}]" if ":" in address else address)


@pytest.mark.parametrize("text", ["", "pypi.example", "1.1.1", "1.1.1.1.", "0x1.1.1.1", "256.1.1.1", "1.1.1.1/8"])
def test_what_is_no_address_is_not_public(text: str) -> None:
    assert not is_public(text)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433", "0x7f000001", "017700000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.1", "10.1",
        "0xa9.0xfe.0xa9.0xfe",
        "127.0.0.1.", "127.0.0.1..", "0", "0x0", "[::1]", "LocalHost", "localhost.", "a.localhost", "printer.local",
        "metadata.google.internal", "router.home.arpa", "localhost.localdomain", "999999999999", "1.2.3.999",
        "", ".", "0x",
    ],
)  # fmt: skip
def test_hosts_that_cannot_be_public(host: str) -> None:
    assert not may_be_public(host)


@pytest.mark.parametrize("host", ["pypi.example", "16843009", "1.1.1.1.", "1and1.example", "internal.example", "x"])
def test_hosts_that_may_be_public(host: str) -> None:
    assert may_be_public(host)
