"""The Flask application, its errors, and the server in front of it."""
