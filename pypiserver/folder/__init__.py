"""Packages in folders: scanning, watching, staging, placing, deleting, checking."""
