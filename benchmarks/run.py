"""Measures DataStorage: `make bench`, or `python benchmarks/run.py --help`.

Needs nothing but the installed project: starts PostgreSQL and the services itself, on loopback,
and removes all it made. The whole run takes most of an hour and about 10 GB of disk.
"""

import argparse
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # This directory's parent.

from benchmarks import report
from benchmarks.cases import CASES
from benchmarks.comparison import Bench, Sizes
from benchmarks.databases import Databases, server
from benchmarks.processes import postgres_process
from benchmarks.sides import Sides
from benchmarks.worker import say

FULL = Sizes(60_000, 30_000, 5_000_000, 10_000, 1_000)
QUICK = Sizes(12_000, 6_000, 200_000, 10_000, 200)
FULL_ROUNDS = 5
QUICK_ROUNDS = 2


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=CASES,
        metavar="CASE",
        help=f"run this case only; may be repeated; one of {', '.join(CASES)}",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small numbers and few rounds, not for quoting"
    )
    parser.add_argument("--rounds", type=int, help=f"rounds of each case (default {FULL_ROUNDS})")
    parser.add_argument("--events", type=int, help=f"events in a round (default {FULL.events:,})")
    parser.add_argument(
        "--prefill", type=int, help=f"rows of the large database (default {FULL.prefill:,})"
    )
    parser.add_argument(
        "--database-url",
        metavar="URL",
        help="use this PostgreSQL server, as its superuser, instead of one started for the run",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("/var/tmp"),  # noqa: S108  (a directory of a random name is made in it)
        help="where to put PostgreSQL's data, on a disk (default %(default)s)",
    )
    return parser.parse_args(arguments)


def sizes(options: argparse.Namespace) -> Sizes:
    """How much to do."""
    chosen = QUICK if options.quick else FULL
    if options.events:
        # Whole batches of a hundred.
        events = max(options.events // 200, 1) * 200
        chosen = chosen._replace(events=events, fewer_events=events // 2)
    return chosen._replace(prefill=options.prefill or chosen.prefill)


def is_whole(options: argparse.Namespace, rounds: int) -> bool:
    """Whether the figures may be quoted."""
    return sizes(options) == FULL and rounds >= FULL_ROUNDS and not options.only


def run(options: argparse.Namespace, databases: Databases, scratch: Path) -> report.Result:
    """Run the cases; what was found before one fails is printed."""
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else FULL_ROUNDS)
    settings = databases.settings()
    postgres = postgres_process(databases.backend_pid())
    if postgres is None:
        say("PostgreSQL's processes are not to be seen here; its CPU time is given as 0")
    with (
        databases.template(),
        Bench(Sides(databases, scratch, postgres, rounds), sizes(options)) as bench,
    ):
        whole = is_whole(options, rounds)
        try:
            for name, case in CASES.items():
                if not options.only or name in options.only:
                    case(bench)
        except BaseException:
            whole = False
            raise
        finally:
            result = report.Result(
                quotable=whole,
                date=report.today(),
                machine=report.machine(),
                postgres=settings,
                rounds=rounds,
                mean_event_bytes=bench.mean_event_bytes,
                rows=bench.rows,
                cpu=bench.cpu,
                samples=bench.samples,
            )
            if result.rows:
                print(report.text(result), flush=True)
    return result


def name_of(options: argparse.Namespace) -> str:
    """The name of the result's file."""
    parts = ["datastorage", *(options.only or ())]
    return "-".join([*parts, "quick"] if options.quick else parts)


def _stop(number: int, _: Any) -> None:
    raise SystemExit(128 + number)  # So that everything that was started is ended.


def main() -> None:
    """Measure, print the tables, keep the results."""
    options = parse()
    signal.signal(signal.SIGTERM, _stop)
    started = time.monotonic()
    with ExitStack() as stack:
        scratch = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="kubernaut-bench-", dir=options.directory)
        )
        databases = stack.enter_context(server(options.database_url, options.directory))
        result = run(options, databases, Path(scratch))
    for path in report.keep(result, name_of(options)):
        say(f"written: {path.relative_to(path.parent.parent.parent)}")
    say(f"{(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
