"""The one exception of this package."""


class LocalServerError(Exception):
    """A local server cannot do what it was asked; the text is one line that says what to do."""
