"""``pypi-server``: parse the command line, set up logging, and run the command.

Exit statuses: 0 done, 1 the answer is "no" (updates found, faults found), 2 a mistake or a failure, reported in one
sentence on standard error, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import PypiServerError
from ..terminal import colored, has_color
from ..text import printable
from . import parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``pypi-server`` with these arguments (default: those of the process) and return its exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        _open_closed_streams()
        _let_odd_names_pass()
        return parser.parse(arguments, os.environ).run(sys.stdout, sys.stderr)
    except PypiServerError as error:
        _say(str(error))
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output closed it; write nothing more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # An error that names a file is reported with this name.
        named = f" ({printable(os.fsdecode(error.filename))})" if isinstance(error.filename, str | bytes) else ""
        _say(f"This cannot be done: {error.strerror or error}{named}.")
        return 2


def _say(failure: str) -> None:
    """Write a failure to standard error."""
    name = colored("pypi-server:", "red") if has_color(sys.stderr) else "pypi-server:"
    sys.stderr.write(f"{name} {failure}\n")


def _let_odd_names_pass() -> None:
    """Accept paths with bytes that are not text, so that a message about one can be printed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            # Unchanged, for the next program; as escapes if the encoding has no such characters at all.
            stream.reconfigure(errors="surrogateescape" if stream.encoding == "utf-8" else "backslashreplace")


def _open_closed_streams() -> None:
    """Replace streams closed before the start (``>&-``) by the null device, so that no file gets their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
