"""Runs the application under granian, waitress, gunicorn and the adapters of bottle."""
