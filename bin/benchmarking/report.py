"""The figures as a table: a column for each target, a row for each figure, with its ratio to the target's baseline."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping

Results = Mapping[str, Mapping[str, float]]


def machine() -> dict[str, object]:
    """When and on what it was measured."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def table(results: Results, baselines: Mapping[str, str]) -> str:
    """A reStructuredText table; in parentheses how a target compares with its baseline, above 1 is better."""
    names = list(results)
    figures = list(dict.fromkeys(figure for name in names for figure in results[name]))
    rows = [["", *names]]
    for figure in figures:
        rows.append([figure, *[_cell(results, baselines, name, figure) for name in names]])
    widths = [max(len(row[column]) for row in rows) for column in range(len(names) + 1)]
    rule = "  ".join("=" * max(width, 3) for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    # An empty first cell would make a row a continuation of the one above.
    lines[0] = "\\" + lines[0][1:]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def _cell(results: Results, baselines: Mapping[str, str], name: str, figure: str) -> str:
    value = results[name].get(figure)
    if value is None:
        return "-"
    text = f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 10 else f"{value:,.3g}"
    base = results.get(baselines.get(name, ""), {}).get(figure)
    if not base or not value or baselines.get(name) == name or figure.startswith(("memory", "peak")):
        return text
    is_rate = figure.endswith(("/s", "at once"))
    return f"{text} ({value / base if is_rate else base / value:.2f})"
