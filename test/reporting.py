"""What a test has counted and whoever reads the log wants to see, although it passed."""

from collections.abc import Callable

Report = Callable[[str], None]
