"""The rows of the operator's benchmark, and the tables that are made of what was measured."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

Unit = Literal["s", "ms", "MiB", "/s", ""]


class Row(NamedTuple):
    """One figure.

    Attributes:
        key: by which a case names it.
        case: which measures it.
        title: what it is, for people.
        go: the Go operator's, in words.
        goal: what it should be.
        stretch: what would be still better.
        unit: of the figure, which is measured in seconds, MiB or pieces.
        at_most: less is better.
    """

    key: str
    case: str
    title: str
    go: str
    goal: float
    stretch: float
    unit: Unit
    at_most: bool = True

    def verdict(self, value: float) -> str:
        """How a value stands to the goals."""
        if self._is_met(value, self.stretch):
            return "stretch met"
        return "met" if self._is_met(value, self.goal) else "MISSED"

    def text(self, value: float) -> str:
        """A value with its unit."""
        match self.unit:
            case "s":
                return f"{value:.3f} s" if value < 1 else f"{value:.2f} s"
            case "ms":
                return f"{value * 1000:.1f} ms"
            case "MiB":
                return f"{value:.0f} MiB"
            case "/s":
                return f"{value:.1f} /s"
            case "":
                return f"{value:,.0f}" if value == int(value) else f"{value:.2f}"

    def limit(self, value: float) -> str:
        """A goal with its sign; a number that must be exact has none."""
        number = f"{value * 1000 if self.unit == 'ms' else value:g} {self.unit}".rstrip()
        if self.at_most and not value:
            return number
        return f"{'≤' if self.at_most else '≥'} {number}"

    def _is_met(self, value: float, bound: float) -> bool:
        return value <= bound if self.at_most else value >= bound


ROWS: Final = (
    Row("end", "single", "PipelineRun status written → WFE terminal, p50, 1 in flight",
        "8.05 s (it polls every 10 s)", 0.10, 0.04, "s"),
    Row("start", "single", "create WFE → PipelineRun exists, p50, 1 in flight",
        "0.09 s", 0.09, 0.05, "s"),
    Row("rate", "many", "WFEs a second, 200 in flight", "9.4 /s", 20, 30, "/s", at_most=False),
    Row("start-many", "many", "create WFE → PipelineRun exists, p50, 200 in flight",
        "6.7 s", 3, 1.5, "s"),
    Row("stored", "single", "Completed → all its events stored, p50", "0.05 s", 0.10, 0.05, "s"),
    Row("lost", "outage", "events lost while DataStorage was away for 8 s",
        "5-298 of 300, `AuditRecorded=True` all the same", 0, 0, ""),
    Row("requests", "many", "API requests for a WFE, five Events among them",
        "12.6-13.8", 10, 8, ""),
    Row("cpu", "many", "operator's CPU for a WFE, 200 in flight", "23 ms", 0.025, 0.015, "ms"),
    Row("rss", "many", "RSS, 200 in flight", "107 MiB", 120, 90, "MiB"),
    Row("rss-finished", "finished", "RSS, 200 in flight beside 5,000 finished WFEs",
        "112 MiB", 130, 100, "MiB"),
    Row("scaling", "scaling", "throughput with 10,000 finished WFEs / with 0",
        "0.83 with 5,000", 0.9, 1.0, "", at_most=False),
    Row("restart", "finished", "restart with 5,000 finished WFEs, CPU until quiet",
        "2.5 s", 2, 1, "s"),
    Row("emitted", "finished", "Events emitted again by that restart",
        "5,000, of which 1,025 were kept", 0, 0, ""),
)  # fmt: skip

_HEADINGS: Final = ("Figure", "Go operator", "Goal", "Stretch", "Measured", "")
Values = Mapping[str, Sequence[float]]


def _cells(values: Values) -> list[tuple[str, ...]]:
    return [
        (
            row.title,
            row.go,
            row.limit(row.goal),
            row.limit(row.stretch) if row.stretch != row.goal else "",
            *_measured(row, values.get(row.key, ())),
        )
        for row in ROWS
    ]


def _measured(row: Row, values: Sequence[float]) -> tuple[str, str]:
    if not values:
        return "", ""
    median = statistics.median(values)
    text = row.text(median)
    if row.text(min(values)) != row.text(max(values)):
        text += f" ({row.text(min(values)).split()[0]}-{row.text(max(values)).split()[0]})"
    return text, row.verdict(median)


def text(values: Values) -> str:
    """The table for a terminal: medians of the rounds, and the extremes."""
    cells = [_HEADINGS, *_cells(values)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def markdown(values: Values) -> str:
    """The same for the docs."""
    rule = ("---",) * len(_HEADINGS)
    return "\n".join("| " + " | ".join(line) + " |" for line in (_HEADINGS, rule, *_cells(values)))
