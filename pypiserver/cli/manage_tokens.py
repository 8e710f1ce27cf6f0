"""Lists and changes API tokens, in a file or a database: mint, list, revoke, rotate, find.

The functions need no running server; a running one sees each change at its next request, or within a second.

**Invariants:** the secret of a token is written once, to standard output, when it is made, and never read back; every
change is in the audit log, if there is one; a revoked token keeps its line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TextIO

from ..access.htpasswd_file import check_user
from ..access.token_file import TokenFileStore
from ..access.token_lines import TokenLines
from ..access.token_record import (
    DEFAULT_SECONDS,
    Limits,
    TokenRecord,
    lifetime,
    shown_time,
)
from ..access.token_record import mint as minted
from ..access.token_record import rotate as rotated
from ..access.token_text import digest_of, id_of, is_whole, tokens_in
from ..access.token_uses import shown_hour
from ..errors import ConfigError, NotFound
from ..observability.audit_log import AuditLog, local_user
from ..settings.config import Config
from ..settings.suggestions import hinting, nearest
from ..text import printable
from .output import write_json
from .token_task import NEVER, TokenTask


class Store(Protocol):
    """Tokens that commands can change."""

    def __str__(self) -> str: ...

    def tokens(self) -> TokenLines:
        """Every token."""

    def change(self, decide: Callable[[TokenLines], Iterable[TokenRecord]]) -> None:
        """Write down the tokens that ``decide`` makes of those that are there."""

    def uses(self) -> dict[str, int]:
        """The last hour (seconds since the epoch) in which each token was used."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Where tokens are kept, the audit log of their changes, and a clock (seconds since the epoch)."""

    store: Store
    audit_log: AuditLog | None = None
    clock: Callable[[], float] = time.time

    def change(self, action: str, decide: Callable[[TokenLines], Iterable[TokenRecord]]) -> list[TokenRecord]:
        """Change the tokens, and record each change in the audit log; raises Unavailable if that cannot be written."""
        if self.audit_log is not None:
            self.audit_log.check()
        done: list[TokenRecord] = []

        def remembering(tokens: TokenLines) -> list[TokenRecord]:
            # It may be called again.
            done[:] = decide(tokens)
            return done

        self.store.change(remembering)
        if self.audit_log is not None:
            for record in done:
                what = {"action": f"token {action}", "token": record.id, "owner": record.user}
                self.audit_log.append(what, user=local_user(), address=None)
        return done


def kept(place: Path | str, config: Config) -> Kept:
    """The tokens at a place, which is a file, or the URL of a database."""
    log = AuditLog(config.audit_log) if config.audit_log is not None else None
    return Kept(TokenFileStore(place) if isinstance(place, Path) else _table(place), log)


def _table(address: str) -> Store:
    from ..access.token_table import TokenTableStore

    return TokenTableStore(address)


def mint(kept: Kept, task: TokenTask, out: TextIO, err: TextIO) -> int:
    """Make a token and print it; raises ConfigError."""
    check_user(task.subject)
    seconds = DEFAULT_SECONDS if task.expires is None else None if task.expires == NEVER else int(task.expires)
    limits = Limits(task.may, task.projects, task.note, task.service)
    made: list[str] = []

    def decide(tokens: TokenLines) -> list[TokenRecord]:
        record, text = minted(task.subject, limits, seconds=seconds, now=kept.clock(), taken=tokens)
        made[:] = [text]
        return [record]

    (record,) = kept.change("mint", decide)
    return _hand_over(record, made[0], task, (out, err))


def rotate(kept: Kept, task: TokenTask, out: TextIO, err: TextIO) -> int:
    """Give a token a new secret and print it; raises NotFound, ConfigError."""
    made: list[str] = []

    def decide(tokens: TokenLines) -> list[TokenRecord]:
        before = _found(kept, tokens, task.subject)
        now = kept.clock()
        if before.state(now) != "valid":
            raise ConfigError(
                f"The token {before.id} is {before.state(now)}; mint a new one.", kind="ended", value=before.id
            )
        seconds = lifetime(before) if task.expires is None else None if task.expires == NEVER else int(task.expires)
        after, text = rotated(before, overlap=task.overlap, seconds=seconds, now=now)
        made[:] = [text]
        return [after]

    (record,) = kept.change("rotate", decide)
    return _hand_over(record, made[0], task, (out, err))


def revoke(kept: Kept, task: TokenTask, out: TextIO) -> int:
    """Revoke one token, or all that a rule fits; 1 if it fits none. Raises NotFound."""
    now = kept.clock()
    uses = kept.store.uses()
    if task.unused_for is not None and not uses:
        raise ConfigError(
            f"It is not known when the tokens in {kept.store} were used: no server has written it down. Where the "
            "server cannot write next to the file, revoke by ID.",
            kind="unused-for",
            setting="unused_for",
        )

    def is_meant(record: TokenRecord) -> bool:
        if task.user and record.user != task.user:
            return False
        used = max(uses.get(record.id, 0), record.created)
        return task.unused_for is None or used < now - task.unused_for

    def decide(tokens: TokenLines) -> list[TokenRecord]:
        if task.subject:
            chosen = [_found(kept, tokens, task.subject)]
        else:
            chosen = [each for each in tokens if each.revoked is None and is_meant(each)]
        return [replace(each, revoked=int(now)) for each in chosen if each.revoked is None]

    done = kept.change("revoke", decide)
    if task.json:
        write_json({"tokens": str(kept.store), "revoked": [each.id for each in done]}, out)
    else:
        out.writelines(f"Revoked {each.id} of {printable(each.user)}.\n" for each in done)
        if not done:
            why = f"The token {id_of(task.subject)} is revoked already" if task.subject else "No token fits"
            out.write(f"{why}; nothing was changed.\n")
    return 0 if done or task.subject else 1


def show(kept: Kept, out: TextIO, err: TextIO, *, as_json: bool) -> int:
    """List the tokens, those that ended last."""
    tokens, uses, now = kept.store.tokens(), kept.store.uses(), kept.clock()
    for bad in tokens.bad:
        err.write(f"pypi-server: Line {bad.number} of {kept.store} cannot be used: {bad.reason}.\n")
    shown = sorted(tokens, key=lambda each: each.state(now) != "valid")
    if as_json:
        write_json({"tokens": str(kept.store), "list": [_data(each, uses, now) for each in shown]}, out)
        return 0
    rows: list[tuple[str, ...]] = [("ID", "STATE", "USER", "MAY", "PROJECTS", "EXPIRES", "LAST USED", "NOTE")]
    rows += [_row(each, uses, now) for each in shown]
    out.writelines(f"{line}\n" for line in _table_of(rows) if shown)
    if not shown:
        out.write(f"{kept.store} has no token.\n")
    return 0


def find(kept: Kept, text: str, out: TextIO, *, as_json: bool) -> int:
    """Tell which tokens a text has; 1 if it has none of these."""
    tokens, uses, now = kept.store.tokens(), kept.store.uses(), kept.clock()
    rows: list[dict[str, object]] = []
    for each in tokens_in(text):
        record = tokens.get(id_of(each))
        data = _data(record, uses, now) if record is not None else {"id": id_of(each), "state": "unknown"}
        rows.append({**data, "secret": _match(each, record, now)})
    if as_json:
        write_json({"tokens": str(kept.store), "found": rows}, out)
    elif not rows:
        out.write("The text has nothing like a token.\n")
    else:
        out.writelines(f"{_told(row)}\n" for row in rows)
    return 0 if any(row["state"] != "unknown" for row in rows) else 1


def _match(text: str, record: TokenRecord | None, now: float) -> str:
    """How the secret in a text compares with that of the token: current, previous, other, or incomplete."""
    if not is_whole(text):
        return "incomplete"
    digest = digest_of(text).hex()
    if record is None:
        return "other"
    if digest == record.sha256:
        return "current"
    return "previous" if record.previous is not None and digest == record.previous.sha256 else "other"


def _told(row: dict[str, object]) -> str:
    if row["state"] == "unknown":
        return f"{row['id']}: no token of these"
    secrets = {
        "current": "with its secret",
        "previous": "with its secret before the last rotation",
        "other": "with another secret, an older or an invented one",
        "incomplete": "but cut or altered",
    }
    note = f", {printable(str(row['note']))}" if row["note"] else ""
    advice = f"; revoke it: pypi-server token revoke {row['id']}" if row["state"] == "valid" else ""
    return f"{row['id']}: {row['state']}, of {printable(str(row['user']))}{note}, {secrets[str(row['secret'])]}{advice}"


def _hand_over(record: TokenRecord, text: str, task: TokenTask, streams: tuple[TextIO, TextIO]) -> int:
    """Print a new secret, alone on standard output, and on the other stream what it is."""
    out, err = streams
    if task.json:
        write_json({"token": text, **_data(record, {}, record.created)}, out)
        return 0
    out.write(f"{text}\n")
    out.flush()
    ends = "never expires" if record.expires is None else f"expires {shown_time(record.expires)}"
    scope = f"{','.join(record.may)} on {' '.join(record.projects) or 'every project'}"
    needs = "" if record.is_service else f"; it counts while {printable(record.user)} is in the password file"
    err.write(f"The token {record.id} of {printable(record.user)} may {scope} and {ends}{needs}. ")
    err.write("It is shown only this once.\n")
    return 0


def _found(kept: Kept, tokens: TokenLines, subject: str) -> TokenRecord:
    """The token of an id, or of a whole token; raises NotFound."""
    wanted = id_of(subject)
    record = tokens.get(wanted)
    if record is None:
        hint = hinting(nearest(wanted, [each.id for each in tokens], 0.7))
        raise NotFound(f"There is no token {printable(wanted)!r} in {kept.store}{hint}", kind="unknown")
    return record


def _data(record: TokenRecord, uses: dict[str, int], now: float) -> dict[str, object]:
    used = uses.get(record.id)
    return {
        "id": record.id,
        "state": record.state(now),
        "user": record.user,
        "may": list(record.may),
        "projects": list(record.projects),
        "created": shown_time(record.created),
        "expires": shown_time(record.expires),
        "rotated": None if record.rotated is None else shown_time(record.rotated),
        "revoked": None if record.revoked is None else shown_time(record.revoked),
        "last_used": None if used is None else shown_hour(used),
        "service": record.is_service,
        "note": record.note,
    }


def _row(record: TokenRecord, uses: dict[str, int], now: float) -> tuple[str, ...]:
    used = uses.get(record.id)
    return (
        record.id,
        record.state(now),
        printable(record.user) + (" (service)" if record.is_service else ""),
        ",".join(record.may),
        " ".join(record.projects) or "*",
        shown_time(record.expires)[:10],
        "-" if used is None else shown_hour(used),
        printable(record.note),
    )


def _table_of(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """The rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
