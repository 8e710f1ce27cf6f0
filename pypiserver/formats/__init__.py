"""Wire formats, pure: the Simple API (PEP 503, 691, 700) and the legacy JSON of projects."""
