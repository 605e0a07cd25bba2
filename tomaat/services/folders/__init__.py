"""Services of network folders: a trained network, as its tool left it, becomes a task without code."""
