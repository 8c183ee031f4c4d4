"""Says why an answer stands for no value."""


class NoValue(ValueError):
    """An answer stands for no value of its type, or for more than one; the message says so in a user's words."""
