"""The composition root: settings become a backend, an index, access, observers, and finally a WSGI application."""
