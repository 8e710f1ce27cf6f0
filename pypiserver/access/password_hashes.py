"""One line of an htpasswd file: the scheme of its hash, the cost of a check, and the check itself.

**Invariants:** only a hash in a known form can log a user in; bcrypt is called directly, and only four handlers of
passlib are used; a hash that would take minutes to check is refused when it is read.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import importlib
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError

MAX_ROUNDS = 1_000_000
MAX_BCRYPT_COST = 15
# Apache cuts passwords to what bcrypt uses; bcrypt 5 refuses longer ones instead of cutting them.
BCRYPT_BYTES = 72
NEW_COST = 10

_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_APR1 = re.compile(r"\$apr1\$[./A-Za-z0-9]{0,8}\$[./A-Za-z0-9]{22}")
_ROUNDS_AND_SALT = r"(?:rounds=([1-9]\d{3,8})\$)?[./A-Za-z0-9]{0,16}\$"
_SHA_CRYPTS = {
    "sha256_crypt": re.compile(rf"\$5\${_ROUNDS_AND_SALT}[./A-Za-z0-9]{{43}}"),
    "sha512_crypt": re.compile(rf"\$6\${_ROUNDS_AND_SALT}[./A-Za-z0-9]{{86}}"),
}
_SHA1 = re.compile(r"\{SHA\}[A-Za-z0-9+/]{27}=")
_DES = re.compile(r"[./A-Za-z0-9]{13}")


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """A user's stored hash: its text, its scheme, and the approximate milliseconds of one check."""

    stored: str
    scheme: str
    milliseconds: float

    @property
    def is_slow(self) -> bool:
        """Whether the number of concurrent checks must be limited."""
        return self.milliseconds >= 2


def read_entry(stored: str) -> PasswordHash:
    """Recognize a stored hash; raises ValueError with the reason for one that cannot log a user in."""
    if match := _BCRYPT.fullmatch(stored):
        cost = int(match[1])
        if not 4 <= cost <= MAX_BCRYPT_COST:
            raise ValueError(f"its bcrypt cost {cost} is not between 4 and {MAX_BCRYPT_COST}")
        return PasswordHash(stored, "bcrypt", 0.06 * 2**cost)
    if _APR1.fullmatch(stored):
        return PasswordHash(stored, "apr1", 0.6)
    for scheme, pattern in _SHA_CRYPTS.items():
        if match := pattern.fullmatch(stored):
            rounds = int(match[1] or 5000)
            if rounds > MAX_ROUNDS:
                raise ValueError(f"its {rounds} rounds are more than {MAX_ROUNDS}")
            return PasswordHash(stored, scheme, 0.0006 * rounds)
    if _SHA1.fullmatch(stored):
        return PasswordHash(stored, "sha1", 0.01)
    if _DES.fullmatch(stored):
        return PasswordHash(stored, "des_crypt", 0.4)
    if stored and stored[0] not in "${!*_:":
        return PasswordHash(stored, "plain", 0.01)
    raise ValueError("its hash is of no known scheme (bcrypt, apr1, SHA-1, sha256-crypt, sha512-crypt, DES crypt)")


def decoys_of(entries: Iterable[PasswordHash], limit: int) -> tuple[PasswordHash, ...]:
    """One entry for each scheme and cost, the costliest first, at most ``limit`` of them."""
    kinds = {(entry.milliseconds, entry.scheme): entry for entry in entries}
    return tuple(kinds[kind] for kind in sorted(kinds, reverse=True)[:limit])


def without(decoys: tuple[PasswordHash, ...], entry: PasswordHash | None) -> tuple[PasswordHash, ...]:
    """The decoys without the one whose cost is closest to the entry's."""
    if entry is None or not decoys:
        return decoys

    def distance(number: int) -> tuple[float, bool]:
        decoy = decoys[number]
        return abs(decoy.milliseconds - entry.milliseconds), decoy.scheme != entry.scheme

    nearest = min(range(len(decoys)), key=distance)
    return decoys[:nearest] + decoys[nearest + 1 :]


def fits(entry: PasswordHash, password: str) -> bool:
    """Whether the password matches the entry; raises ConfigError when the library for its scheme is missing."""
    try:
        return _VERIFIERS[entry.scheme](entry.stored, password)
    except ValueError:
        # The form is right but the hash is invalid, which only the library detects (bits that must be zero).
        return False


def make_hash(password: str, *, cost: int = NEW_COST) -> str:
    """A new bcrypt hash.

    Cost 10 takes about 60 ms: a pip run makes hundreds of requests, and although successes are cached, refusing wrong
    guesses must stay cheap.
    """
    import bcrypt

    return bcrypt.hashpw(password.encode()[:BCRYPT_BYTES], bcrypt.gensalt(cost)).decode("ascii")


def _bcrypt(stored: str, password: str) -> bool:
    try:
        import bcrypt
    except Exception as error:
        raise ConfigError(
            f"The password file has bcrypt hashes, but bcrypt cannot be imported ({error}); reinstall it.",
            kind="not-installed",
            setting="password_file",
        ) from error
    return bcrypt.checkpw(password.encode()[:BCRYPT_BYTES], stored.encode("ascii"))


def _passlib(handler: str) -> Callable[[str, str], bool]:
    def verify(stored: str, password: str) -> bool:
        return bool(_handler(handler).verify(password, stored))

    return verify


@functools.cache
def _handler(name: str) -> Any:
    # passlib.hash as a whole would load its bcrypt back end, which breaks with bcrypt 5: load only this module.
    modules = {
        "apr_md5_crypt": "md5_crypt",
        "sha256_crypt": "sha2_crypt",
        "sha512_crypt": "sha2_crypt",
        "des_crypt": "des_crypt",
    }
    try:
        with warnings.catch_warnings():
            # It imports crypt, which Python 3.11 and 3.12 deprecate; passlib works without it.
            warnings.simplefilter("ignore", DeprecationWarning)
            module = importlib.import_module(f"passlib.handlers.{modules[name]}")
    except Exception as error:
        raise ConfigError(
            f"The password file has {name} hashes, but passlib cannot be imported ({error}); install passlib or "
            "libpass.",
            kind="not-installed",
            setting="password_file",
        ) from error
    return getattr(module, name)


def _sha1(stored: str, password: str) -> bool:
    digest = base64.b64encode(hashlib.sha1(password.encode(), usedforsecurity=False).digest())
    return hmac.compare_digest(digest, stored.removeprefix("{SHA}").encode("ascii"))


def _plain(stored: str, password: str) -> bool:
    return hmac.compare_digest(stored.encode(), password.encode())


_VERIFIERS: dict[str, Callable[[str, str], bool]] = {
    "bcrypt": _bcrypt,
    "apr1": _passlib("apr_md5_crypt"),
    "sha256_crypt": _passlib("sha256_crypt"),
    "sha512_crypt": _passlib("sha512_crypt"),
    "des_crypt": _passlib("des_crypt"),
    "sha1": _sha1,
    "plain": _plain,
}
