"""Say that a program cannot run as it is set up."""


class Misconfigured(Exception):
    """Trying again would not help; the sentence says what to mend."""
