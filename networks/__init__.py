"""Networks that this repository trained itself: their data, their training, their evaluation, their weights."""
