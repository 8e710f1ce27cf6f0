"""Every command, one in each file: its operands, flags, help and examples, and what it does.

``COMMANDS`` is the table of subcommands by name; ``CLASSIC`` is the row without a name, which serves or, with ``-U``,
looks for updates. ``ROWS`` has both.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..subcommand import Subcommand
from . import (
    cache,
    check,
    completion,
    config,
    copy,
    delete,
    deploy,
    gc,
    healthcheck,
    help,
    passwd,
    proxy,
    reindex,
    restore,
    rights,
    run,
    stats,
    token,
    unclaim,
    unyank,
    update,
    yank,
)
from .classic import CLASSIC

__all__ = ["CLASSIC", "COMMANDS", "ROWS"]

COMMANDS: Mapping[str, Subcommand] = {
    row.name: row
    for row in (
        run.COMMAND,
        update.COMMAND,
        passwd.COMMAND,
        rights.COMMAND,
        token.COMMAND,
        yank.COMMAND,
        unyank.COMMAND,
        delete.COMMAND,
        restore.COMMAND,
        unclaim.COMMAND,
        check.COMMAND,
        reindex.COMMAND,
        gc.COMMAND,
        copy.COMMAND,
        proxy.COMMAND,
        config.COMMAND,
        deploy.SYSTEMD,
        deploy.NGINX,
        deploy.COMPOSE,
        stats.COMMAND,
        completion.COMMAND,
        help.COMMAND,
        healthcheck.COMMAND,
        cache.COMMAND,
    )
}
ROWS: Mapping[str, Subcommand] = {"": CLASSIC, **COMMANDS}
