"""HTTP: the routes, their problems, the waiting clients, and the server."""
