"""Checks the files of ``--certificate`` and ``--key`` before anything starts."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError


def check(certificate: Path, key: Path) -> None:
    """Raise ConfigError for files that cannot be read, hold something else, or do not belong together."""
    import ssl

    for flag, path in (("--certificate", certificate), ("--key", key)):
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            raise ConfigError(
                f"{flag}: the file {path} cannot be read ({error.strerror or error}).",
                kind="unreadable",
                setting=flag.removeprefix("--"),
                value=path,
                source=flag,
            ) from error

    def encrypted() -> str:
        raise ConfigError(
            f"--key: the key {key} has a password, which nothing asks for; give one without.",
            kind="password",
            setting="key",
            value=key,
        )

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, encrypted)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"--key: the key {key} is not that of the certificate {certificate}.",
                kind="contradiction",
                setting="key",
                value=key,
            ) from error
        flag, path, what = ("--key", key, "private key") if _is_chain(certificate) else (
            "--certificate", certificate, "certificate chain"
        )  # fmt: skip
        raise ConfigError(
            f"{flag}: the file {path} holds no {what} in PEM that can be used.",
            kind="value",
            setting=flag.removeprefix("--"),
            value=path,
            source=flag,
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--certificate, --key: {certificate} and {key} cannot be used ({error}).",
            kind="unusable",
            setting="certificate",
            value=certificate,
        ) from error


def _is_chain(certificate: Path) -> bool:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except (OSError, ValueError):
        return False
    return True
