"""The catalog in PostgreSQL, which several machines share."""
