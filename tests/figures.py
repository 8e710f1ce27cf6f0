"""What tests do to servers, counted where it happens, so that bin/soak can add it up over its hour.

Each figure is a line in the file that the variable FIGURES names; without it nothing is written.
"""

from __future__ import annotations

import os
from collections import Counter

COUNTED: Counter[str] = Counter()
INJECTED = "faults injected"
SURVIVED = "faults survived"


def count(figure: str, number: int = 1) -> None:
    """Add to a figure."""
    COUNTED[figure] += number
    path = os.environ.get("FIGURES")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{number} {figure}\n")


def inject(kind: str, number: int = 1) -> None:
    """Count faults that are injected now; those of a test that passes count as survived."""
    count(INJECTED, number)
    count(f"  {kind}", number)
