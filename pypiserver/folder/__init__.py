"""Packages in folders: scanning, watching, staging, publishing, deleting, checking."""
