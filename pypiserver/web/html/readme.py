"""A project's long description as HTML that is safe to include in a page.

Another process renders Markdown and reStructuredText, see :mod:`renderer`; until it has finished, and for text that it
cannot render within the limits, the page shows the plain text and the reason. Without readme_renderer,
:mod:`light_markdown` renders Markdown. **Invariants:** work in this process is linear and bounded for any description.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
from html import escape

from ...bounded_cache import BoundedCache, weight
from .light_markdown import light
from .renderer import Renderer
from .renderer_worker import CPU_SECONDS, MAX_HTML, MEMORY_BYTES, Kind, Outcome
from .sanitizer import MAX_DEPTH

_LOG = logging.getLogger(__name__)
EXTRA = "pip install 'pypiserver[web]'"
# Characters. A description of 100,000 is a book; longer ones are not read to the end on this page anyway.
MAX_RENDERED = 100_000
MAX_SHOWN = 200_000
# Characters. Without a library, the worst text of this size takes a tenth of a second in the serving process.
MAX_LIGHT = 50_000
MAX_LIGHT_LINES = 5_000
MAX_LIGHT_BYTES = 4 << 20
_made: BoundedCache[bytes, str] = BoundedCache(MAX_LIGHT_BYTES)
_KINDS = {"text/markdown": Kind.GFM, "text/x-rst": Kind.RST, "": Kind.RST}
_PENDING = "The description is shown as plain text until it is formatted; load the page again in a moment."
_REASONS = {
    Outcome.INVALID: "it has errors",
    Outcome.TOO_LONG: f"it is longer than {MAX_RENDERED:,} characters",
    Outcome.TOO_SLOW: f"formatting it takes more than {CPU_SECONDS} seconds",
    Outcome.TOO_MUCH_MEMORY: f"formatting it takes more than {MEMORY_BYTES >> 20} MiB of memory",
    Outcome.TOO_LARGE: f"it becomes larger than {MAX_HTML >> 20} MiB when it is formatted",
    Outcome.TOO_DEEP: f"its parts are nested more than {MAX_DEPTH} deep",
    Outcome.STALLED: "formatting it took too long",
    Outcome.CRASHED: "formatting it failed",
}


def shown(text: str, content_type: str, renderer: Renderer) -> str:
    """The description as safe HTML; ``content_type`` is Description-Content-Type, '' means reStructuredText."""
    kind = _kind(content_type)
    if kind is None:
        return _plain(text, "")
    if not _is_installed():
        return _light(text, kind)
    if len(text) > MAX_RENDERED:
        return _plain(text, _because(Outcome.TOO_LONG))
    answer = renderer.render(kind, text)
    if answer is None:
        return _plain(text, _PENDING)
    outcome, html = answer
    if outcome is Outcome.HTML:
        return html.decode("utf-8")
    if outcome is Outcome.MISSING:
        _say_missing()
        return _light(text, kind)
    return _plain(text, _because(outcome))


def _kind(content_type: str) -> Kind | None:
    """The markup of the description; None for plain text and unknown types."""
    kind = _KINDS.get(content_type.partition(";")[0].strip().lower())
    is_common_mark = "variant=commonmark" in content_type.lower().replace(" ", "")
    return Kind.COMMONMARK if kind is Kind.GFM and is_common_mark else kind


@functools.cache
def _is_installed() -> bool:
    """Whether readme_renderer is installed, without importing it; logs a warning once if it is not."""
    is_here = importlib.util.find_spec("readme_renderer") is not None
    if not is_here:
        _say_missing()
    return is_here


@functools.cache
def _say_missing() -> None:
    _LOG.warning("Descriptions are shown almost unformatted, because readme_renderer is not installed: %s.", EXTRA)


def _because(outcome: Outcome) -> str:
    return f"The description is shown as plain text, because {_REASONS[outcome]}."


def _light(text: str, kind: Kind) -> str:
    """The description rendered without a library, cached by its digest."""
    if kind is Kind.RST or len(text) > MAX_LIGHT or text.count("\n") > MAX_LIGHT_LINES:
        return _plain(text, "")
    key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    html = _made.get(key)
    if html is None:
        html = light(text)
        _made.put(key, html, size=weight(html))
    return html


def _plain(text: str, note: str) -> str:
    notes = [note] if note else []
    if len(text) > MAX_SHOWN:
        notes.append(f"Only its first {MAX_SHOWN:,} characters of {len(text):,} are shown.")
    words = f'<p class="note">{escape(" ".join(notes))}</p>' if notes else ""
    return f'{words}<pre class="plain">{escape(text[:MAX_SHOWN])}</pre>'
