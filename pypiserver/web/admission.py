"""Admits a request: to its route first, then to the project that its address names, before anything is looked up.

**Invariants:** a refusal depends on the rules and the address alone; of a file, the project is that of its name, so the
catalog is asked only if the name fits several projects and the rules differ for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packaging.utils import NormalizedName

from .. import request_info
from ..access.guard import Access, refusal
from ..access.principal import Principal
from ..bounded_cache import BoundedCache
from ..distributions.filename import normalize, projects_of
from ..errors import CatalogUnavailable, NotFound, PypiServerError
from ..index.read import Repository
from .api.files import without_sidecar

# Bytes of what is remembered of files whose names fit several projects.
OWNER_BYTES = 1 << 20


class Admission:
    """Admits requests to routes; ``access`` decides, ``repository`` says whose a file of an ambiguous name is."""

    def __init__(self, access: Access, repository: Repository) -> None:
        self._access = access
        self._repository = repository
        # By the path of such a file: a serial, and whose it is, '' if it is not here. The time of an answer would tell
        # that it is, if only the one that is here were remembered.
        self._owners: BoundedCache[str, tuple[int, str]] = BoundedCache(OWNER_BYTES)

    def admit(self, action: str, environ: dict[str, Any], arguments: Mapping[str, str]) -> None:
        """Admit this request, and leave its principal in the environ; raises the refusal."""
        access = self._access
        by_name = access.is_by_name
        project = normalize(arguments["project"]) if by_name and "project" in arguments else None
        # The log names the user of a refused request, too.
        principal = environ[request_info.PRINCIPAL] = access.login(action, environ.get("HTTP_AUTHORIZATION"))
        environ[request_info.USER] = principal.name
        access.allow(principal, action, project)
        if by_name and action == "download":
            self._require_file(principal, without_sidecar(arguments["path"]))

    def admit_at_once(self, action: str, environ: dict[str, Any], arguments: Mapping[str, str]) -> None:
        """The same if nothing has to be read, compared or waited for; raises Waits otherwise, and for refusals."""
        access = self._access
        by_name = access.is_by_name
        project = normalize(arguments["project"]) if by_name and "project" in arguments else None
        principal = access.check_at_once(action, environ.get("HTTP_AUTHORIZATION"), project)
        if by_name and action == "download":
            for each in projects_of(without_sidecar(arguments["path"]).rpartition("/")[2]):
                access.require_at_once(principal, action, each)
        environ[request_info.PRINCIPAL] = principal
        environ[request_info.USER] = principal.name

    def _require_file(self, principal: Principal, path: str) -> None:
        filename = path.rpartition("/")[2]
        projects = projects_of(filename)
        allowed = {project for project in projects if self._access.may(principal, "download", project)}
        if len(allowed) == len(projects) or (allowed and self._is_of(path, allowed)):
            return
        error = refusal(principal, "download", projects[0])
        if isinstance(error, NotFound):
            raise NotFound(f"There is no file {filename!r} here.", kind="hidden", filename=filename)
        raise error

    def _is_of(self, path: str, projects: set[NormalizedName]) -> bool:
        """Whether there is a file at that path, and its metadata says that it is of one of these projects."""
        try:
            serial, known = self._repository.serial(), self._owners.get(path)
        except CatalogUnavailable:
            # What is known of the file may count for some minutes all the same.
            return self._owner(path) in projects
        if known is None or known[0] != serial:
            known = serial, self._owner(path)
            self._owners.put(path, known, size=0)
        return known[1] in projects

    def _owner(self, path: str) -> str:
        try:
            return self._repository.file(path).project
        except NotFound:
            return ""
        except PypiServerError as error:
            # What is wrong with one file is not told before it is known whose it is.
            if error.filename:
                return ""
            raise
