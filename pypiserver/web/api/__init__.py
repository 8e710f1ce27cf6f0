"""What clients ask for: simple pages, files, uploads, JSON, XML-RPC, health."""
