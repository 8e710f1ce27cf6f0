"""Other indexes: asking them, and the names they are never asked for."""
