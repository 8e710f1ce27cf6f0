"""How Sphinx makes HTML of the README and the pages below docs; `bin/docs build` runs it from the project's folder.

**Invariants:** the pages are plain reStructuredText without directives of Sphinx, and link to each other as a forge
follows it too (``page.rst``); docs/index.rst alone decides which pages there are, and in what order.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from pypiserver._version import __version__ as release  # noqa: E402 - from this checkout

project = "pypiserver"
version = release
root_doc = "docs/index"
include_patterns = ["README.rst", "docs/**.rst"]
exclude_patterns = [".*", "tests", "bin", "build", "dist", "pypiserver*", "docs/howto/helm", "docs/howto/kubernetes"]
html_theme = "furo"
html_title = f"pypiserver {release}"
html_show_copyright = html_copy_source = html_show_sourcelink = False
# Nothing is fetched while pages are built or read.
html_theme_options = {"top_of_page_buttons": []}

_LOG = logging.getLogger(__name__)
_LINK = re.compile(r"<([^<>:]+\.rst)>`_")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", add_contents)
    app.connect("doctree-read", resolve_links)
    return {"parallel_read_safe": True}


def add_contents(app: Sphinx, document: str, source: list[str]) -> None:
    """Give the first page a table of contents for the sidebar, with the sections and links that it shows."""
    if document != root_doc:
        return
    sections = re.split(r"^(\S.*)\n=+\n", source[0].split("\n", 3)[3], flags=re.MULTILINE)
    for heading, text in zip(sections[1::2], sections[2::2], strict=True):
        pages = [f"   /docs/{link.removesuffix('.rst')}" for link in _LINK.findall(text)]
        readme = ["   /README"] if heading == "Learn" else []
        source[0] += "\n".join(
            ["", "", ".. toctree::", "   :hidden:", f"   :caption: {heading}", "", *readme, *pages, ""]
        )


def resolve_links(app: Sphinx, doctree: nodes.document) -> None:
    """Let links to pages lead to their HTML, and links to other files to a copy of them."""
    document = app.env.docname
    for node in list(doctree.findall(nodes.reference)):
        path, _, fragment = node.get("refuri", "").partition("#")
        if not path or re.match("[a-z]+:|/", path):
            continue
        target = _normal(PurePosixPath(document).parent / path)
        if target.endswith(".rst"):
            found = addnodes.pending_xref(
                "", *node.children, refdomain="std", reftype="doc", reftarget="/" + target[:-4], refexplicit=True
            )
            found["refdoc"] = document
            if fragment:
                # Sections keep the names that docutils gives them.
                node["refuri"] = app.builder.get_relative_uri(document, target[:-4]) + "#" + fragment
                continue
        elif (HERE.parent / target).is_file():
            found = addnodes.download_reference("", *node.children, reftarget="/" + target, refdoc=document)
        else:
            _LOG.warning("%s leads nowhere", path, location=node)
            continue
        node.replace_self(found)


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
