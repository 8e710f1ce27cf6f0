"""The catalog in a SQLite file, or in memory."""
