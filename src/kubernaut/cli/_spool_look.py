"""A look at all journals of a directory, and how the commands that take it end."""

from pathlib import Path
from typing import Final

import typer

from kubernaut.audit import JournalError
from kubernaut.audit.spool import JournalFile, journals
from kubernaut.cli._audit_directory import DIRECTORY_HELP, default_directory
from kubernaut.cli._failure import FAILED, tell

CODES: Final = f"""
The directory can be given in the environment too:

\b
{DIRECTORY_HELP.strip(chr(10))}

Exit codes: 0 done; 1 a journal is damaged or something was not found, one line each says what;
2 the command line is wrong or the directory cannot be used; 130 Ctrl-C; 141 the reader of the
output has gone."""


class Look:
    """Journals one by one; what is wrong with one does not keep the others from being shown."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory or default_directory()
        self.journals = journals(self.directory)
        self.is_whole = True

    def failed(self, journal: JournalFile, error: JournalError) -> None:
        """Say it; the exit code will be 1."""
        tell(str(error) if journal.name in str(error) else f"{journal.name}: {error}")
        self.is_whole = False

    def end(self) -> None:
        """End the command with an exit code."""
        if not self.is_whole:
            raise typer.Exit(FAILED)
