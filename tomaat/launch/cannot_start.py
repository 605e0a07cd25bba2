"""The error of an instance that cannot run as it is set up."""


class CannotStart(Exception):
    """Trying again would not help. The message names the remedy."""
