"""Descriptions that are too much for the renderer: plain text, with the reason."""

from __future__ import annotations

import pytest

from tests.unit.web.html import test_readme as unit
from tests.unit.web.html.test_readme import MD, Render

pytestmark = pytest.mark.live
render = unit.render
renderer = unit.renderer


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("*a " * 200 + " a*" * 200, "its parts are nested more than 100 deep"),
        ("> " * 150 + "a", "its parts are nested more than 100 deep"),
        ("a" * 100_001, "it is longer than 100,000 characters"),
        # As little as becomes too large: more of it meets the limit of time on a machine that is busy.
        ("```python\n" + "a=1;" * 11_500 + "\n```\n", "it becomes larger than 1 MiB when it is formatted"),
    ],
)
def test_what_is_too_much_is_plain_text_with_the_reason(render: Render, text: str, reason: str) -> None:
    note = f'<p class="note">The description is shown as plain text, because {reason}.</p><pre class="plain">'
    assert render(text, MD).startswith(note)
