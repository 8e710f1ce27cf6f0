"""The parts of the metadata that contain an address; all others are in setup.cfg.

``DOCUMENTATION`` in ``pypiserver/cli/subcommand.py`` is the only place of the address. An index page shows README.rst
outside of this repository: its links become absolute there, and its notes for the tests are left out.
"""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
# One note: a comment, with its deeper lines, up to the next empty line.
NOTE = re.compile(r"^( *)\.\. (?:run|not run|file): .*\n(?:\1 +\S.*\n)*\n?", re.MULTILINE)
LINK = re.compile(r"<(docs/[^<>\s]+)>`_")


def address() -> str:
    """The address of the repository; read as text, because an import needs the dependencies."""
    text = (HERE / "pypiserver" / "cli" / "subcommand.py").read_text("utf-8")
    return re.search(r'^DOCUMENTATION = "(.+)"$', text, re.MULTILINE)[1]


def description(files: str) -> str:
    """README.rst for an index page; ``files`` is the address of the files of the repository."""
    text = (HERE / "README.rst").read_text("utf-8")
    return LINK.sub(rf"<{files}/\1>`_", NOTE.sub("", text))


REPOSITORY = address()
# Follows the default branch, whatever its name.
FILES = f"{REPOSITORY}/blob/HEAD"
setup(
    url=REPOSITORY,
    project_urls={
        "Documentation": f"{FILES}/docs/index.rst",
        "Source": REPOSITORY,
        "Changelog": f"{FILES}/docs/changelog.rst",
        "Issues": f"{REPOSITORY}/issues",
    },
    long_description=description(FILES),
    long_description_content_type="text/x-rst",
)
