"""Dying with the parent, waking, stopping, /proc, the log."""
