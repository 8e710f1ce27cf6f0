"""What security tests share: the unit tests' folder and application, and inputs that are the same in every run."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.unit.conftest import put, root, serve

__all__ = ["put", "root", "serve"]

# In CI the same inputs each time, so that a red run says something about the change; bin/soak asks for many new ones.
settings.register_profile(
    "security",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")),
    suppress_health_check=list(HealthCheck),
)
settings.register_profile("soak", settings.get_profile("security"), derandomize=False)
settings.load_profile("soak" if os.environ.get("FUZZ_EXAMPLES") else "security")
