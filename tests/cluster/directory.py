"""Debian's slapd on loopback: people with groups, a reader, and users whose names are made of special characters."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.certificates import Certificate
from tests.cluster.process import Service, accepts, dropped, other_user, own_folder, program, started
from tests.ports import free_ports

PACKAGE = "slapd"
PEOPLE, GROUPS = "ou=people,dc=example,dc=org", "ou=groups,dc=example,dc=org"
READER, READER_PASSWORD = "cn=reader,dc=example,dc=org", "read-only"
# Users by the value of uid; the password is the same. The entries have names of their own, which must be escaped.
USERS = {
    "ada": "Ada Lovelace",
    "ann": "Ann",
    "grüße": "Grüße",
    "o'neil,(a*b)\\c": 'O\'Neil, "the" (a*b)\\c + d; #e <f> =g',
    "*": "Star",
}
PASSWORD = "correct horse: Pferd für alle"
# What slapd must be told: anonymous clients may log in and read nothing, and an empty password is an anonymous login.
CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
allow bind_anon_cred bind_anon_dn
sizelimit 50
{tls}
database mdb
suffix "dc=example,dc=org"
rootdn "cn=admin,dc=example,dc=org"
rootpw admin
directory {folder}/data
maxsize 16777216
access to attrs=userPassword by anonymous auth by * none
access to * by dn="{reader}" read by anonymous auth by * none
"""


@dataclass
class Directory(Service):
    """A running slapd."""

    port: int = 0
    secure_port: int = 0

    @property
    def secure_url(self) -> str:
        """Its address for TLS from the first byte."""
        return f"ldaps://127.0.0.1:{self.secure_port}"

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"


def _quoted(value: str) -> str:
    """A value in the name of an entry (RFC 4514 section 2.4), and in LDIF as UTF-8."""
    return "".join(f"\\{each}" if each in ',+"\\<>;=#' else each for each in value)


def _entries() -> Iterator[str]:
    yield "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n"
    for unit in ("people", "groups"):
        yield f"dn: ou={unit},dc=example,dc=org\nobjectClass: organizationalUnit\nou: {unit}\n"
    yield (
        f"dn: {READER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: reader\n"
        f"userPassword: {READER_PASSWORD}\n"
    )
    for user, name in USERS.items():
        yield (
            f"dn: cn={_quoted(name)},{PEOPLE}\nobjectClass: inetOrgPerson\ncn: {name}\nsn: {user}\nuid: {user}\n"
            f"userPassword: {PASSWORD}\n"
        )
    # Two entries with one uid: neither is meant.
    for name in ("Twin 1", "Twin 2"):
        yield (
            f"dn: cn={name},{PEOPLE}\nobjectClass: inetOrgPerson\ncn: {name}\nsn: twin\nuid: twin\n"
            f"userPassword: {PASSWORD}\n"
        )
    everybody = "".join(f"member: cn={_quoted(name)},{PEOPLE}\n" for name in USERS.values())
    yield f"dn: cn=staff,{GROUPS}\nobjectClass: groupOfNames\ncn: staff\n{everybody}"
    ada = f"member: cn=Ada Lovelace,{PEOPLE}\n"
    yield f"dn: cn=Data Platform,{GROUPS}\nobjectClass: groupOfNames\ncn: Data Platform\n{ada}"


@contextmanager
def slapd(certificate: Certificate | None = None) -> Iterator[Directory]:
    """A directory of its own, with the entries above; with a ``certificate`` it takes StartTLS and ``ldaps``."""
    server, add = program("slapd", PACKAGE), program("slapadd", PACKAGE)
    user = other_user()
    with own_folder("slapd", user) as folder:
        configuration, entries, data = folder / "slapd.conf", folder / "entries.ldif", folder / "data"
        tls = ""
        if certificate is not None:
            for part in (certificate.chain, certificate.key):
                # As the user of slapd reads it.
                (folder / part.name).write_bytes(part.read_bytes())
                (folder / part.name).chmod(0o644)
            tls = f"TLSCertificateFile {folder}/{certificate.chain.name}\n"
            tls += f"TLSCertificateKeyFile {folder}/{certificate.key.name}"
        configuration.write_text(CONFIGURATION.format(folder=folder, reader=READER, tls=tls))
        entries.write_text("\n".join(_entries()))
        for command in (["mkdir", data], [add, "-q", "-f", configuration, "-l", entries]):
            words = [str(word) for word in dropped(command, user)]
            subprocess.run(words, check=True, capture_output=True, cwd=folder, timeout=60)
        port, secure = free_ports(2)
        # With a level of messages it stays in the foreground.
        urls = f"ldap://127.0.0.1:{port}" + (f" ldaps://127.0.0.1:{secure}" if certificate is not None else "")
        command = dropped([server, "-d", "0", "-f", configuration, "-h", urls], user)
        directory = Directory("slapd", command, folder, lambda: accepts(port), port=port, secure_port=secure)
        with started(directory):
            yield directory


def settings(directory: Directory, folder: Path, *, url: str = "", more: str = "") -> Path:
    """The file that the plug-in reads; ``url`` is another address of the directory, ``more`` are more lines."""
    path = folder / "ldap.ini"
    path.write_text(
        f"[ldap]\nurl = {url or directory.url}\n{more}people = {PEOPLE}\ngroups = {GROUPS}\nreader = {READER}\n"
        f"reader-password = {READER_PASSWORD}\n"
    )
    return path
