"""The private PostgreSQL, and PostgreSQL's own programs."""
