"""Handlers of what clients request: simple pages, files, uploads, JSON, XML-RPC, health."""
