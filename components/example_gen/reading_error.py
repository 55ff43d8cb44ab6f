"""The error of all readers, in a module of its own so that `idx` does not import the readers."""


class ReadingError(ValueError):
    """Data cannot be read; the message says what was found, what was expected, how to fix it."""
