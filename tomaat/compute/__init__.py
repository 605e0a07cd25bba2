"""Compute sources: finding them, one lane each, the worker, and the engine that starts it."""
