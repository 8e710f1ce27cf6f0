"""The catalog in PostgreSQL, for servers on several machines."""
