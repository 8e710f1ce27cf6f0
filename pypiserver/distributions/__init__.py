"""File names, archives and core metadata of distributions (PEP 427, 440, 503, 625, 643, 658, 740)."""
