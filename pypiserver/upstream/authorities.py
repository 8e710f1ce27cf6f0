"""Whose certificates are trusted: the system's authorities, or those that the environment names.

**Invariants:** the variables are those of pip, requests and curl, in that order; a variable that names what does not
exist is an error.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigError

# These name a private certificate authority; the first that is set counts, in the order of the programs that read them.
CA_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def own_authority(environ: Mapping[str, str]) -> str | None:
    """The file or folder of trusted certificates that the environment names; raises ConfigError if it is missing."""
    for name in CA_VARIABLES:
        place = environ.get(name)
        if place and not Path(place).exists():
            raise ConfigError(
                f"The variable {name} names {place!r} as trusted certificates, and that does not exist.",
                kind="missing",
                setting=name,
                value=place,
                source=name,
            )
        if place:
            return place
    return None


def trust(authority: str | None) -> ssl.SSLContext:
    """The trusted certificates: those of the named authority, or those of the system."""
    from urllib3.util import create_urllib3_context

    context = create_urllib3_context()
    context.check_hostname, context.verify_mode = True, ssl.CERT_REQUIRED
    # pip accepts certificates of private authorities that lack an RFC 5280 extension; Python 3.13 does not by default.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if authority:
        is_folder = Path(authority).is_dir()
        context.load_verify_locations(None if is_folder else authority, authority if is_folder else None)
        return context
    context.load_default_certs()
    folder = ssl.get_default_verify_paths().capath
    # Python for macOS includes none, and neither do images without ca-certificates.
    if not context.cert_store_stats()["x509_ca"] and not (folder and any(Path(folder).iterdir())):
        import certifi

        context.load_verify_locations(certifi.where())
    return context
