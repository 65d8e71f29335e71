"""Turns what was measured into a table for people, one for the docs, and JSON."""

import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from benchmarks.sides import Sample

RESULTS: Final = Path(__file__).parent / "results"
_HEADINGS: Final = ("Case", "Compared with", "Median (min-max)", "Goal", "Stretch", "", "Events/s")
_CPU_HEADINGS: Final = ("CPU per event, µs", "Service", "PostgreSQL", "Client", "Share of service")

Unit = Literal["ratio", "µs", "ms", "bytes"]


class Row(msgspec.Struct, kw_only=True):
    """One line of the table: a value per round, and what it should be.

    `at_most` says that less is better. Rates are medians: of what is measured, and of what it is
    compared with.
    """

    case: str
    compared_with: str = ""
    unit: Unit
    values: list[float]
    goal: float
    stretch: float
    at_most: bool = False
    events_per_second: float | None = None
    compared_events_per_second: float | None = None
    events_per_second_goal: float | None = None
    details: dict[str, float] = {}

    @property
    def median(self) -> float:
        """The figure to quote."""
        return statistics.median(self.values)

    def meets(self, wanted: float) -> bool:
        """Whether the median is as good as that."""
        return self.median <= wanted if self.at_most else self.median >= wanted

    @property
    def verdict(self) -> str:
        """How the median stands to the goals."""
        if self.meets(self.stretch):
            return "stretch met"
        return "goal met" if self.meets(self.goal) else "goal missed"


class Cpu(msgspec.Struct, kw_only=True):
    """Who used the processors while a case ran; microseconds per event, medians."""

    case: str
    service: float
    postgres: float
    client: float


class Result(msgspec.Struct, kw_only=True):
    """All of a run."""

    quotable: bool
    date: str
    machine: dict[str, str | int]
    postgres: dict[str, str]
    rounds: int
    mean_event_bytes: float
    rows: list[Row]
    cpu: list[Cpu]
    samples: dict[str, list[Sample]]


def cpu_of(case: str, samples: Sequence[Sample]) -> Cpu:
    """The medians over the rounds."""
    return Cpu(
        case=case,
        service=statistics.median(sample.service_cpu for sample in samples),
        postgres=statistics.median(sample.postgres_cpu for sample in samples),
        client=statistics.median(sample.client_cpu for sample in samples),
    )


def machine() -> dict[str, str | int]:
    """What the figures belong to, without names."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpus": os.cpu_count() or 0,
        "memory_gib": round(memory / 2**30),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def today() -> str:
    """The date, in UTC."""
    return datetime.now(UTC).date().isoformat()


def _figure(value: float, unit: Unit) -> str:
    match unit:
        case "ratio":
            return f"{value:.2f}"
        case "µs":
            return f"{value:.1f} µs"
        case "ms":
            return f"{value:.2f} ms"
        case "bytes":
            return f"{value:,.0f} B"


def _limit(row: Row, value: float) -> str:
    text = f"{value:,g}" if row.unit == "ratio" else f"{value:,g} {row.unit}"
    return ("≤ " if row.at_most else "≥ ") + text


def _spread(row: Row) -> str:
    median = _figure(row.median, row.unit)
    if len(row.values) == 1:
        return median
    least, most = (_figure(value, row.unit) for value in (min(row.values), max(row.values)))
    return f"{median} ({least.split()[0]}-{most.split()[0]})"


def _rates(row: Row) -> str:
    if row.events_per_second is None:
        return ""
    text = f"{row.events_per_second:,.0f}"
    if row.compared_events_per_second is not None:
        text += f" / {row.compared_events_per_second:,.0f}"
    if row.events_per_second_goal is not None:
        missed = row.events_per_second < row.events_per_second_goal
        text += f" (goal {row.events_per_second_goal:,.0f}{' missed' if missed else ''})"
    return text


def _cells(result: Result) -> list[Sequence[str]]:
    return [
        (
            row.case,
            row.compared_with,
            _spread(row),
            _limit(row, row.goal),
            _limit(row, row.stretch),
            row.verdict,
            _rates(row),
        )
        for row in result.rows
    ]


def _cpu_cells(result: Result) -> list[Sequence[str]]:
    cells: list[Sequence[str]] = []
    for cpu in result.cpu:
        share = cpu.service / ((cpu.service + cpu.postgres + cpu.client) or 1)
        figures = [f"{value:.1f}" for value in (cpu.service, cpu.postgres, cpu.client)]
        cells.append((cpu.case, *figures, f"{share:.0%}"))
    return cells


def _text(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    return "\n".join(
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (headings, ["-" * width for width in widths], *cells)
    )


def _markdown(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(headings)
    return "\n".join("| " + " | ".join(line) + " |" for line in (headings, rule, *cells))


def _facts(result: Result) -> str:
    versions = f"Python {result.machine['python']}, PostgreSQL {result.postgres['server_version']}"
    return (
        f"{result.date}, {result.machine['cpus']} processors, {result.machine['memory_gib']} GiB,"
        f" {versions} (shared_buffers {result.postgres['shared_buffers']}, fsync"
        f" {result.postgres['fsync']}); {result.rounds} rounds; events of"
        f" {result.mean_event_bytes:.0f} bytes of JSON on average."
    )


def text(result: Result) -> str:
    """The tables for a terminal."""
    parts = [_text(_HEADINGS, _cells(result)), _text(_CPU_HEADINGS, _cpu_cells(result))]
    parts.append(_facts(result))
    if not result.quotable:
        parts.append("NOT FOR QUOTING: this was not the whole run with full numbers.")
    return "\n\n".join(parts)


def markdown(result: Result) -> str:
    """The tables for the docs."""
    return "\n\n".join(
        (
            "<!-- Written by benchmarks/run.py; do not edit. -->",
            _facts(result),
            _markdown(_HEADINGS, _cells(result)),
            _markdown(_CPU_HEADINGS, _cpu_cells(result)),
        )
    )


def keep(result: Result, name: str) -> list[Path]:
    """Write the results; the table for the docs only if its figures may be quoted."""
    RESULTS.mkdir(exist_ok=True)
    suffix = "" if result.quotable else ".local"  # Those are not for the repository.
    kept = [RESULTS / f"{name}{suffix}.json"]
    document = msgspec.json.format(msgspec.json.encode(result), indent=2)
    kept[0].write_bytes(document + b"\n")
    if result.quotable:
        kept.append(RESULTS / "table.md")
        kept[1].write_text(markdown(result) + "\n", encoding="utf-8")
    return kept
