"""The settings that a web server gets."""

from __future__ import annotations

from ..server.contract import Options
from ..settings.config import Config


def server_options(config: Config) -> Options:
    """The options of the server for these settings."""
    return Options(
        server=config.server,
        host=config.host,
        port=config.port,
        workers=config.workers,
        threads=config.threads,
        certificate=config.certificate,
        key=config.key,
        max_upload_size=config.max_upload_size,
        connections=config.max_connections,
        header_bytes=config.max_header_size,
        stall_seconds=config.stall_timeout,
        drain_seconds=config.drain_seconds,
        tells_names_apart=config.believes_address,
        reads_elsewhere=config.storage is not None or config.asks_others,
    )
