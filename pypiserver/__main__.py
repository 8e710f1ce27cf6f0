"""``python -m pypiserver``: runs the program, and exits; the only place that exits.

**Invariants:** an interrupt is an exit status (130) from the first line on, whatever is imported then.
"""

from __future__ import annotations

try:
    import sys

    from .cli.program import main

    if __name__ == "__main__":
        sys.exit(main())
except KeyboardInterrupt:
    raise SystemExit(130) from None

__all__ = ["main"]
