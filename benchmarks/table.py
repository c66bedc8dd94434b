"""The printed table."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.measure import Better, Measure
from benchmarks.result import Result

__all__ = ["format_number", "result_table"]

_HEAD = ("measure", "ours", "peer", "ratio", "aim", "")


def format_number(value: float) -> str:
    """Three to four significant digits, with thousands apart."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1 else f"{value:.2g}"


def result_table(result: Result) -> str:
    """One scenario: its name, a row for each measure, the conditions."""
    rows = [_HEAD, *(_row(measure) for measure in result.measures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [f"{result.name}: {result.summary}"]
    lines += [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines += [f"  · {name}: {_condition(value)}" for name, value in result.conditions.items()]
    return "\n".join(lines)


def _row(measure: Measure) -> tuple[str, ...]:
    peer, ratio = measure.peer_value, measure.ratio
    return (
        f"{measure.name} ({measure.statistic.value} of {len(measure.samples)})",
        f"{format_number(measure.value)} {measure.unit}",
        "" if peer is None else f"{format_number(peer)} ({measure.peer})",
        "" if ratio is None else f"{ratio:.3g}",
        _aim(measure),
        {None: "", True: "reached", False: "NOT REACHED"}[measure.is_met],
    )


def _aim(measure: Measure) -> str:
    if measure.aim is None:
        return ""
    sign = "≥" if measure.better is Better.HIGHER else "≤"
    return f"{measure.aim.of.value} {sign} {measure.aim.bound:g}"


def _condition(value: object) -> str:
    if isinstance(value, dict):
        items: Sequence[tuple[object, object]] = list(value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return ", ".join(f"{name} {_condition(item)}" for name, item in items)
    if isinstance(value, (list, tuple)):
        entries: Sequence[object] = list(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return ", ".join(_condition(item) for item in entries)
    return format_number(value) if isinstance(value, float) else str(value)
