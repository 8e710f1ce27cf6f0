"""Logs, metrics, statistics: what is told about requests and changes."""
