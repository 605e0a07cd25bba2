"""Say that a program did not start."""


class NotStarted(Exception):
    """Trying again may help; the sentence says why it did not start."""
