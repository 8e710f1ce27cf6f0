"""What the scripts ``pypi-server`` and ``pypiserver`` call: the version told at once, all else by `__main__`.

Invariants: telling the version imports nothing else of the project, so that it costs the start of Python and little
more; every other command line, and a standard output that is closed, is for `__main__`.
"""

from __future__ import annotations

import sys

from ._version import __version__


def main() -> int:
    """Do what the arguments of the process say; gives the exit status."""
    if sys.argv[1:] == ["--version"] and sys.stdout is not None:
        try:
            sys.stdout.write(f"pypi-server {__version__}\n")
            sys.stdout.flush()
            return 0
        except OSError:
            pass  # a closed pipe or a full disk, of which the other one knows how to end
    from .__main__ import main as full

    return full()
