"""Messages between a lane and its worker."""
