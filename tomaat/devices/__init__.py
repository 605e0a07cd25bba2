"""Compute sources, and the memory, load and temperature of their devices."""
