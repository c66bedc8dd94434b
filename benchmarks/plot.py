"""A picture of one result as plain SVG: every sample as a dot, from zero, ours above the peer's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.measure import Measure
from benchmarks.result import Result
from benchmarks.table import format_number

__all__ = ["svg_plot"]

_WIDTH: Final = 760
_LEFT: Final = 20
_RIGHT: Final = 740
_PANEL: Final = 104
_HEAD: Final = 34
_OURS: Final = "#1f6f8b"
_PEER: Final = "#b5532a"
_MOST_DOTS: Final = 400


def svg_plot(result: Result) -> str:
    """One panel for each measure, with an axis of its own that begins at zero."""
    height = _HEAD + _PANEL * len(result.measures) + 18
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        _text(_LEFT, 22, f"{result.name}: {result.summary}", size=14),
    ]
    for number, measure in enumerate(result.measures):
        parts += _panel(measure, _HEAD + _PANEL * number)
    parts.append(_text(_LEFT, height - 6, f"{result.date} · commit {result.commit[:12]}", size=10, colour="#666"))
    parts.append("</svg>\n")
    return "\n".join(parts)


def _panel(measure: Measure, top: int) -> list[str]:
    largest = max(*measure.samples, *(measure.peer_samples or (0.0,)), measure.value, measure.peer_value or 0.0)
    scale = (_RIGHT - _LEFT) / (largest or 1.0)
    ratio = "" if measure.ratio is None else f", ratio {measure.ratio:.3g}"
    title = f"{measure.name}, {measure.statistic.value} of {len(measure.samples)} ({measure.unit}){ratio}"
    lines = [_text(_LEFT, top + 16, title)]
    lines += _strip(measure.samples, measure.value, f"ours {format_number(measure.value)}", _OURS, top + 34, scale)
    if measure.peer is not None and measure.peer_value is not None:
        label = f"{measure.peer} {format_number(measure.peer_value)}"
        lines += _strip(measure.peer_samples, measure.peer_value, label, _PEER, top + 64, scale)
    axis = top + 88
    lines.append(f'<path d="M{_LEFT} {axis}H{_RIGHT}" stroke="#999"/>')
    lines.append(_text(_LEFT, axis + 11, "0", size=9, colour="#666"))
    lines.append(_text(_RIGHT, axis + 11, format_number(largest), size=9, colour="#666", anchor="end"))
    return lines


def _strip(samples: Sequence[float], value: float, label: str, colour: str, middle: int, scale: float) -> list[str]:
    # Every n-th of many: a strip of thousands of dots would be a bar.
    step = max(1, len(samples) // _MOST_DOTS)
    dots = [
        f'<circle cx="{_LEFT + sample * scale:.1f}" cy="{middle}" r="3" fill="{colour}" fill-opacity="0.25"/>'
        for sample in sorted(samples)[::step]
    ]
    at = _LEFT + value * scale
    mark = f'<path d="M{at:.1f} {middle - 9}V{middle + 9}" stroke="{colour}" stroke-width="2.5"/>'
    is_far = at > (_LEFT + _RIGHT) / 2
    place, anchor = (at - 8, "end") if is_far else (at + 8, "start")
    return [*dots, mark, _text(place, middle - 6, label, size=11, colour=colour, anchor=anchor)]


def _text(x: float, y: float, text: str, *, size: int = 12, colour: str = "#222", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'
    )
