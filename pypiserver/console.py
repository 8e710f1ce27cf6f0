"""The entry point of the scripts ``pypi-server`` and ``pypiserver``: prints the version; all else is for the program.

**Invariants:** printing the version imports nothing else of the project, so it takes little longer than Python's own
start; `cli.program` handles every other command line, and a standard output that is closed; an interrupt is an exit
status from the first import on.
"""

from __future__ import annotations

import sys

from ._version import __version__


def main() -> int:
    """Run the arguments of the process; returns the exit status."""
    try:
        if sys.argv[1:] == ["--version"] and sys.stdout is not None:
            try:
                sys.stdout.write(f"pypi-server {__version__}\n")
                sys.stdout.flush()
                return 0
            except OSError:
                pass  # a closed pipe or a full disk, which the program handles
        from .cli.program import main as full

        return full()
    except KeyboardInterrupt:
        return 130
