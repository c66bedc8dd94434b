"""A trace for people: one line for each step, in the order of time, one column for each lane."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caimi.sdk.tracing import Trace, TraceStep

__all__ = ["short_lane", "step_line", "waits_line", "waterfall"]


def waterfall(trace: Trace) -> list[str]:
    """The lines."""
    lines = [f"{trace.kind} 0x{trace.id.hex()}", f"trace {trace.trace_id}"]
    if trace.kind == "publication":
        lines.append(f"home {trace.home}; mirrors {', '.join(short_lane(m) for m in trace.mirrors)}")
    if trace.deadline is not None:
        left = "" if trace.deadline_left is None else f", {trace.deadline_left} s left"
        lines.append(f"deadline {_clock(trace.deadline)} by the clock of {trace.home}{left}")
    lines.append("states " + ", ".join(f"{short_lane(lane)} {state}" for lane, state in trace.states.items()))
    if trace.steps:
        begin = trace.steps[0].time
        lines += [step_line(step, begin) for step in trace.steps]
    lines.append(waits_line(trace))
    return lines


def waits_line(trace: Trace) -> str:
    """What it waits for, and whom."""
    return f"waits for {trace.waits_for}" + (f" [{', '.join(trace.waits_on)}]" if trace.waits_on else "")


def step_line(step: TraceStep, begin: int) -> str:
    """One step; `begin` is the time of the first one."""
    parts = [
        f"{_clock(step.time)} {step.time - begin:>+5d} s  {short_lane(step.lane):<10} {step.what:<18} {step.state:<9}"
    ]
    if step.height is not None:
        parts.append(f"block {step.height}")
    if step.sequence is not None:
        parts.append(f"event {step.sequence}")
    if step.transaction is not None:
        parts.append(f"tx {step.transaction.removeprefix('0x')[:10]}")
    if step.signers:
        parts.append("signed by validators " + ", ".join(str(signer + 1) for signer in step.signers))
    if step.detail:
        parts.append(step.detail)
    if step.problem is not None:
        problem = step.problem
        told = f"{problem.attempts} failed attempts, the last: {problem.sentence} ({problem.blame})"
        parts.append("; ".join(part for part in (told, problem.hint) if part))
    return "  ".join(parts)


def _clock(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")


def short_lane(name: str) -> str:
    """A lane's name; of a foreign one the beginning of its chain's identifier."""
    return name if len(name) <= 16 else f"{name[:10]}…"
