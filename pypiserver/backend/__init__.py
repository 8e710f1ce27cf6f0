"""Protocols, values and helpers that folders and buckets share."""
