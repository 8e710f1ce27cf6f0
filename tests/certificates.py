"""A certificate for loopback, of an authority no one knows but the test."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificate:
    """The files a server is given, and what a client trusts it by."""

    chain: Path
    key: Path
    authority: Path
    context: ssl.SSLContext


def make_certificate(folder: Path, *hosts: str) -> Certificate:
    authority = trustme.CA()
    # OpenLDAP refuses a certificate without a common name, which all others ignore.
    issued = authority.issue_cert("127.0.0.1", "localhost", *hosts, common_name="localhost")
    chain, key, trusted = folder / "chain.pem", folder / "key.pem", folder / "authority.pem"
    authority.cert_pem.write_to_path(trusted)
    issued.private_key_pem.write_to_path(key)
    for part in issued.cert_chain_pems:
        part.write_to_path(chain, append=True)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return Certificate(chain, key, trusted, context)
