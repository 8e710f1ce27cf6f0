"""pypiserver: a Python package index over a folder.

``app(**settings)`` gives the WSGI application, ``default_config(**overrides)`` every setting as a mapping for it; the
names and meanings of the settings are in :class:`pypiserver.settings.config.Config`.
"""

from __future__ import annotations

from ._version import __version__

# The constant of typing, whose import takes longer than the rest of `pypi-server --version`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    import bottle

    from .access.principal import Principal
    from .factory.application import Application
    from .settings.config import Config

version = __version__
__all__ = [
    "Config",
    "Principal",
    "__version__",
    "app",
    "app_from_config",
    "bottle",
    "default_config",
    "paste_app_factory",
    "version",
]


def app(root: object = None, **settings: object) -> Application:
    """The WSGI application (PEP 3333) for these settings, by their current or legacy names.

    Nothing runs before the first request; the application's ``close()`` ends what was started. Raises
    :class:`pypiserver.errors.ConfigError` for a setting that is unknown, given twice, or cannot be used.
    """
    from .factory.application import Application
    from .settings.config import make_config

    return Application(make_config(root=root, **settings))


def app_from_config(config: Config) -> Application:
    """The WSGI application for settings that are parsed: ``Config.default_with_overrides(root="packages")``."""
    from .factory.application import Application

    return Application(config)


def default_config(root: object = None, **overrides: object) -> dict[str, object]:
    """Every setting by name, the defaults with ``overrides`` applied: ``app(**default_config(root="packages"))``."""
    from .settings.config import default_config as defaults

    return defaults(root=root, **overrides)


def paste_app_factory(global_config: Mapping[str, str], **local_conf: str) -> Application:
    """The application for a section of a paste file; ``root`` may name several folders, on lines of their own."""
    from .factory.application import Application
    from .settings.config import from_paste

    return Application(from_paste(local_conf))


def __getattr__(name: str) -> object:
    """Names that are imported only on use: they import bottle, which gevent and eventlet must precede."""
    if name == "Config":
        from .settings.config import Config

        return Config
    if name == "Principal":
        from .access.principal import Principal

        return Principal
    if name == "bottle_wrapper":
        import pypiserver.bottle_wrapper as wrapper

        return wrapper
    if name != "bottle":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import bottle

    return bottle
