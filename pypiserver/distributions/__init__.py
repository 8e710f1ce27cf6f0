"""What a file name, an archive and its metadata say (PEP 427, 440, 503, 625, 643, 658, 740)."""
