"""`make serve` and `make demo`: the private PostgreSQL and the doors, started and kept alive together."""
