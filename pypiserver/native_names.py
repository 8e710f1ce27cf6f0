"""File names as Python gives them in this process, and as catalogs, pages and logs hold them.

Python decodes names by the locale, which is ASCII under Apache on Debian (``LANG=C``); ours are always UTF-8, with
surrogate escapes (PEP 383) for other bytes, so that processes of any locale can share a catalog. **Invariants:** a name
from the system passes :func:`text_of` on its way in, a path to the system :func:`native` on its way out.
"""

from __future__ import annotations

import codecs
import functools
import logging
import os
import sys
from pathlib import Path

_LOG = logging.getLogger(__name__)
IS_UTF8 = codecs.lookup(sys.getfilesystemencoding()).name == "utf-8"


def text_of(name: str) -> str:
    """A name or path from the system, as catalogs hold it: UTF-8 with surrogate escapes."""
    return name if IS_UTF8 else os.fsencode(name).decode("utf-8", "surrogateescape")


def native(path: str) -> str:
    """A path from a catalog, as ``open`` takes it in this process."""
    return path if IS_UTF8 else os.fsdecode(path.encode("utf-8", "surrogateescape"))


def absolute(path: Path | str) -> Path:
    """The path from the root of the file system, without ``..``; links are not followed, as ``resolve`` would do."""
    return Path(os.path.abspath(path))  # noqa: PTH100


@functools.cache
def say_other_locale() -> None:
    """Log a warning, once, if Python decodes file names with another encoding than UTF-8."""
    if not IS_UTF8:
        _LOG.warning(
            "Python reads the names of files as %s here, because the locale is %s. Packages are served anyway; set "
            "LANG=C.UTF-8 for this process (with mod_wsgi: WSGIDaemonProcess ... lang=C.UTF-8 locale=C.UTF-8).",
            sys.getfilesystemencoding(),
            os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or "C",
        )
