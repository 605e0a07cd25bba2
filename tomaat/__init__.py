"""The rooms of the TOMAAT backend."""

__version__ = "0.1.0"
