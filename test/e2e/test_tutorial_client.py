"""The lesson of `docs/tutorial/record-events.md`: its program, its commands and what they say."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from kubernaut.audit import Client
from kubernaut.local._port import free_port
from test.e2e.test_up import up
from test.polling import wait_for
from test.unit.docs.pages import blocks, read, section

PAGE = read("tutorial/record-events")
(PROGRAM,) = blocks(PAGE, "python")
BIN = Path(sys.executable).parent
SECONDS = 60
LAST = 60


def adapted(text: str, *changes: tuple[str, str]) -> str:
    """The page's text, changed where it says what depends on the place and the time."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


class Counting:
    """The page's program, which pauses for as long as it is told, and what it has said."""

    def __init__(self, directory: Path, first: int) -> None:
        self._said = directory / f"said-{first}"
        with self._said.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "count.py", str(first)],
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
            )

    def go_on(self, pauses: int) -> None:
        """End so many pauses."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n" * pauses)
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def said(self) -> str:
        return self._said.read_text()

    def recorded(self) -> list[tuple[int, int]]:
        """Each number that was recorded, and how many events waited then."""
        found = re.findall(r"^recorded (\d+); (\d+) waiting$", self.said, re.MULTILINE)
        return [(int(number), int(waiting)) for number, waiting in found]


def environment(server: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("KUBERNAUT")}
    return ours | {"KUBERNAUT_AUDIT_SERVER": server, "COLUMNS": "100"}


def journal(directory: Path) -> dict[str, Any]:
    """The only journal of the program, as the command shows it."""
    done = subprocess.run(
        [BIN / "kubernaut", "audit", "spool", "status", "--directory", "count-journal"],
        cwd=directory,
        env=environment(""),
        check=True,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def test_the_lesson_goes_as_the_page_says(server_home: Path, tmp_path: Path) -> None:
    home, port = server_home / "home", free_port()
    server = f"http://127.0.0.1:{port}"
    pause = "time.sleep(0.5)", "sys.stdin.readline()"
    (tmp_path / "count.py").write_text(adapted(PROGRAM, ("http://127.0.0.1:18100", server), pause))
    with up(home, port) as running:
        counting = Counting(tmp_path, 1)
        counting.go_on(8)
        wait_for(lambda: journal(tmp_path)["delivered"] == 9, SECONDS, "nine deliveries")
        assert running.end_with(signal.SIGINT) == 0
    counting.go_on(14)
    wait_for(lambda: len(counting.recorded()) == 23, SECONDS, "events without a server")
    assert counting.recorded()[9:] == [(9 + waiting, waiting) for waiting in range(1, 15)]
    wait_for(lambda: "audit events wait in the journal: " in counting.said, SECONDS, "a warning")
    counting.kill()
    left = journal(tmp_path)
    assert (left["recorded"], left["pending"], left["in_use"]) == (23, 14, False)
    with up(home, port):
        again = Counting(tmp_path, 24)
        again.go_on(LAST)
        assert again.process.wait(SECONDS) == 0
        again.kill()
        assert [number for number, _ in again.recorded()] == list(range(24, LAST + 1))
        assert_every_number_once(server)
        assert_the_page_says_what_its_commands_say(server, tmp_path)
    left = journal(tmp_path)
    assert (left["recorded"], left["delivered"], left["pending"]) == (LAST, LAST, 0)


def assert_every_number_once(server: str) -> None:
    with Client(server) as client:
        events = list(client.query(correlation_id="count-1", order="asc"))
    assert [event.data["number"] for event in events] == list(range(1, LAST + 1))
    assert [event.chain_seq for event in events] == list(range(1, LAST + 1))


def assert_the_page_says_what_its_commands_say(server: str, directory: Path) -> None:
    transcripts = blocks(section(PAGE, "Count them"), "text")
    assert len(transcripts) == 3
    for transcript in transcripts:
        line, _, said = transcript.partition("\n")
        command = adapted(line.removeprefix("$ "), (".venv/bin/", f"{BIN}/"))
        if "|" not in command:
            command += " --output table"  # As on a terminal.
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=directory,
            env=environment(server),
            check=True,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.stdout == said, line
