"""Say why an instance cannot run as it is set up."""


class CannotStart(Exception):
    """Trying again would not help; the sentence says what does."""
