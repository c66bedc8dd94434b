"""`caimi trace ID --follow`: steps as they happen, until the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from caimi.cli.output import Terminal
from caimi.cli.waterfall import short_lane, step_line, waits_line

if TYPE_CHECKING:
    from caimi.sdk.tracing import Trace, TraceStep

__all__ = ["Follower", "finish"]

_GOOD: Final = frozenset({"COMMITTED", "ANSWERED"})
_NOT_THIS_TIME: Final = 3


class Follower:
    """Tells each step once, and each change of what is waited for."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._told: set[tuple[object, ...]] = set()
        self._waits_for = ""
        self._has_begun = False

    def show(self, trace: Trace) -> None:
        """Tell what is new."""
        if not self._has_begun:
            self._has_begun = True
            self._terminal.line(
                {"event": "begin", "id": trace.to_json()["id"], "trace_id": trace.trace_id, "kind": trace.kind},
                f"{trace.kind} 0x{trace.id.hex()}, trace {trace.trace_id}",
            )
        for step in trace.steps:
            self._show_step(step, begin=trace.steps[0].time)
        if trace.waits_for != self._waits_for:
            self._waits_for = trace.waits_for
            waits = {"waits_for": trace.waits_for, "waits_on": list(trace.waits_on), "deadline": trace.deadline}
            self._terminal.line({"event": "waits", **waits}, waits_line(trace))

    def _show_step(self, step: TraceStep, *, begin: int) -> None:
        # The same call comes again in each of its states; its time may move without anything new.
        key = (step.lane, step.what, step.state, step.height, step.transaction, step.sequence, step.signers)
        if key in self._told:
            return
        self._told.add(key)
        self._terminal.line({"event": "step", **step.to_json()}, step_line(step, begin))


def finish(terminal: Terminal, trace: Trace) -> None:
    """Tell the end.

    Raises:
        typer.Exit: It did not come to what was wanted: with 3, as after `caimi publish`.
    """
    ok = trace.outcome in _GOOD
    states = ", ".join(f"{short_lane(lane)} {state}" for lane, state in trace.states.items())
    terminal.line({"event": "end", "ok": ok, "outcome": trace.outcome, "trace": trace.to_json()}, f"ended: {states}")
    if not ok:
        raise typer.Exit(_NOT_THIS_TIME)
