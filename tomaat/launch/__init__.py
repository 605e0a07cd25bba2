"""Run the private PostgreSQL and the doors together and keep them alive, for ``make serve`` and ``make demo``."""
