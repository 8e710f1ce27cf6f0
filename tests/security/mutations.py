"""Inputs for fuzzing: real ones, cut, doubled, spliced and sprinkled with what parsers trip over."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

TOKENS = (
    b"\0", b"\r\n", b"\n", b"\r", b"\t", b"\x1b[31m", b"\x7f", b"\x80", b"\xff", b"\xc3\xa9", b"\xe2\x80\xa8",
    b"%0d%0a", b"%00",
    b"%", b"%%", b"%2e%2e%2f", b"..", b"../", b"//", b"\\", b"/", b":", b";", b";;", b",", b"=", b'"', b'\\"',
    b"'", b"*", b"-", b"--",
    b"-1", b"0", b"00", b"+1", b"1_0", b"9" * 25, b"9" * 5000, b"1e9", b"NaN", b"q=", b"q=2", b"q=0.0001", b"W/",
    b"bytes=",
    b"bytes=0-0,1-1", b"Basic ", b"$2b$99$", b"$5$rounds=999999999$", b"{SHA}", b"<!DOCTYPE", b"<!ENTITY", b"&",
    b"&amp;", b"<", b">",
    b"]]>", b"boundary=", b"filename*=UTF-8''x", b"a" * 300, b"(" * 200, b"[" * 200, b"\xef\xbb\xbf", b"\xed\xa0\x80",
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes], max_edits: int = 6) -> bytes:
    """One of the seeds with up to ``max_edits`` edits."""
    data = draw(st.sampled_from(list(seeds)))
    for _ in range(draw(st.integers(0, max_edits))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        kind = draw(st.sampled_from(("insert", "insert", "replace", "delete", "double", "splice", "cut")))
        if kind in ("insert", "replace"):
            token = draw(st.sampled_from(TOKENS) | st.binary(max_size=4))
            data = data[:at] + token + data[at if kind == "insert" else end :]
        elif kind == "delete":
            data = data[:at] + data[end:]
        elif kind == "double":
            data = data[:end] + data[at:end] * draw(st.integers(1, 50)) + data[end:]
        elif kind == "splice":
            data = data[:at] + draw(st.sampled_from(list(seeds)))[end:]
        else:
            data = data[:at]
    return data


def header_text(seeds: Sequence[bytes]) -> st.SearchStrategy[str]:
    """Mutated seeds as a server passes a header on: latin-1, without what would end the header."""
    return mutated(seeds).map(lambda data: data.translate(None, b"\r\n\0").decode("latin-1"))
