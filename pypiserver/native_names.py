"""The names of files as Python gives them in this process, and as catalogs, pages and logs have them.

Python decodes names by the locale, which is ASCII where Apache runs it on Debian (``LANG=C``); ours are always UTF-8,
with surrogate escapes (PEP 383) for other bytes, so that processes of any locale share a catalog. The rule to keep: a
name from the system passes :func:`text_of` when it comes in, a path of ours :func:`native` when it goes out.
"""

from __future__ import annotations

import codecs
import functools
import logging
import os
import sys

_LOG = logging.getLogger(__name__)
IS_UTF8 = codecs.lookup(sys.getfilesystemencoding()).name == "utf-8"


def text_of(name: str) -> str:
    """A name, or a path, that the system gave."""
    return name if IS_UTF8 else os.fsencode(name).decode("utf-8", "surrogateescape")


def native(path: str) -> str:
    """A path of ours, as the system takes it."""
    return path if IS_UTF8 else os.fsdecode(path.encode("utf-8", "surrogateescape"))


@functools.cache
def say_other_locale() -> None:
    """Warn once where Python takes the names of files for another encoding than UTF-8."""
    if not IS_UTF8:
        _LOG.warning(
            "Python reads the names of files as %s here, because the locale is %s. Packages are served anyway; set "
            "LANG=C.UTF-8 for this process (with mod_wsgi: WSGIDaemonProcess ... lang=C.UTF-8 locale=C.UTF-8).",
            sys.getfilesystemencoding(),
            os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or "C",
        )
