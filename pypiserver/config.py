"""A name of 2.x: ``from pypiserver.config import Config``; the settings are in :mod:`pypiserver.settings`."""

from .settings.config import Config

__all__ = ["Config"]
