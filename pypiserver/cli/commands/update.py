"""``update``, or ``-U``: look for newer releases of the packages in the folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ...settings import address_parsers, path_parsers
from ...settings.config import Config
from ...settings.setting import Setting
from ..options import COMMON_WITH_ROOTS, HELP, JSON, ROOTS
from ..roots import prepare_roots
from ..subcommand import Subcommand, settings, switch

OPTIONS = (
    switch("execute", "-x", "--execute", text="Run the pip commands instead of only showing them."),
    Setting(
        name="download_directory",
        parse=path_parsers.path,
        flags=("-d", "--download-directory"),
        metavar="DIR",
        group="Options",
        help="Download updates to this folder.",
        default_text="the folder of the file to be updated",
    ),
    switch("allow_unstable", "-u", "--allow-unstable", text="Allow alpha, beta, rc and dev versions."),
    Setting(
        name="ignorelist_file",
        parse=path_parsers.path,
        flags=("--ignorelist-file", "--blacklist-file"),
        metavar="FILE",
        group="Options",
        help="Leave alone the projects named in this file, one on each line.",
    ),
    Setting(
        name="index_url",
        parse=address_parsers.web_address,
        flags=("--index-url",),
        metavar="URL",
        group="Options",
        default_text="the public index",
        help="Look for updates in this index (its simple page).",
    ),
    JSON,
    switch("allow_sdist", "--allow-sdist", text="Download source distributions too, not only built ones."),
)


@dataclass(frozen=True, slots=True)
class Update:
    """Look for newer releases of the files in the folders; show the pip commands, or run them."""

    config: Config
    execute: bool = False
    download_directory: Path | None = None
    allow_unstable: bool = False
    ignorelist_file: Path | None = None
    index_url: str | None = None
    json: bool = False
    allow_sdist: bool = False

    def run(self, out: TextIO, err: TextIO) -> int:
        """Look for them; 1 if there are updates, 2 if a lookup or a download failed."""
        from ...factory.backends import build_backend
        from ...observability import logging_setup
        from ...settings.config import default_fallback_url
        from ...upstream.private_names import read_private_names
        from ..progress import progress
        from ..update import Options, newest_local, read_ignorelist, run_update

        prepare_roots(self.config)
        logging_setup.configure(self.config)
        # Private names never leave this machine.
        private = read_private_names(self.config.private, self.config.private_file)
        inventory = build_backend(self.config, is_serving=False).inventory
        files = [(dist, folder) for dist, folder in inventory.local_files() if dist.project not in private]
        options = Options(
            index_url=self.index_url or default_fallback_url(),
            allow_unstable=self.allow_unstable,
            allow_sdist=self.allow_sdist,
            download_directory=self.download_directory,
            ignore=read_ignorelist(self.ignorelist_file) if self.ignorelist_file else frozenset(),
            execute=self.execute,
            as_json=self.json,
        )
        with progress("checking", out if out.isatty() and not self.json else err) as tell:
            return run_update(newest_local(files), options, out=out, err=err, show=tell)


COMMAND = Subcommand(
    "update",
    "Look for newer releases of the packages; the same as -U.",
    Update,
    (ROOTS,),
    (*OPTIONS, *settings("private", "private_file", "backend"), *COMMON_WITH_ROOTS, *HELP),
    examples=(
        ("update ~/packages", "show what is newer elsewhere"),
        ("update -x --private 'acme-*' ~/packages", "download it; these names are never looked up elsewhere"),
    ),
)
