"""The worker, a program of its own: read, perform and pack tickets, keep networks warm. No SQL, no credentials."""
