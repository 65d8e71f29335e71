"""Progress for a person: a moving line on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live


class Steps:
    """Says what is being done and what came of it, each line as soon as it is known."""

    def __init__(self) -> None:
        # Lines are never folded, and nothing in them is taken for markup: people paste them.
        self._console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)

    @contextmanager
    def step(self, doing: str) -> Iterator[Callable[[str], None]]:
        """Show what is being done while it is; the function that is given shows the result."""
        if not self._console.is_terminal:
            self.say(f"{doing} ...")
            yield self.say
            return
        with self._console.status(doing, spinner="line"):  # ASCII: any terminal can show it.
            yield self.say

    @property
    def is_terminal(self) -> bool:
        """Whether a person sees it as it comes."""
        return self._console.is_terminal

    @contextmanager
    def live(self) -> Iterator[Callable[[RenderableType], None]]:
        """Show something that changes, on a terminal; its last form stays."""
        with Live(console=self._console, auto_refresh=False) as shown:
            yield lambda form: shown.update(form, refresh=True)

    def say(self, line: str = "", *, style: str | None = None) -> None:
        """Show a line."""
        self._console.print(line, style=style)
        self._console.file.flush()
