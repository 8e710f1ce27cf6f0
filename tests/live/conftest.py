"""Live tests use the fixtures of the unit tests."""

from __future__ import annotations

from tests.unit.conftest import (
    database,
    database_server,
    lent_database,
    logging_as_before,
    put,
    pytest_collection_modifyitems,
    root,
    serve,
)

__all__ = [
    "database",
    "database_server",
    "lent_database",
    "logging_as_before",
    "put",
    "pytest_collection_modifyitems",
    "root",
    "serve",
]
