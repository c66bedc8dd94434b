"""Runs scenarios one after the other, and writes each one's file as soon as it is there."""

from __future__ import annotations

import asyncio
import datetime
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine, load_average, source_commit
from benchmarks.plot import svg_plot
from benchmarks.result import Result, write_result
from benchmarks.scenario import Scenario, Stage

__all__ = ["OutOfTime", "Outcome", "RunPlan", "run_scenarios"]


class OutOfTime(Exception):
    """The time for all scenarios is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """How to run."""

    repository: Path
    results: Path
    """Where the files go."""
    effort: float
    budget_s: float
    """After which nothing is measured any more."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    results: list[Result] = field(default_factory=list[Result])
    failures: dict[str, str] = field(default_factory=dict[str, str])
    """Why, by the scenario's name."""
    seconds: float = 0.0


async def run_scenarios(scenarios: Sequence[Scenario], plan: RunPlan, *, tell: Callable[[str], None]) -> Outcome:
    """Run them; one that fails is named in the outcome and does not keep the others from running.

    Arguments:
        tell: told what happens, for people.
    """
    outcome, begin = Outcome(), time.monotonic()
    task = asyncio.current_task()
    if task is not None:
        # As Ctrl-C: whoever is told to end stops the processes that it has started.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    folder = Path(tempfile.mkdtemp(prefix="caimi-bench-"))
    stage = Stage(repository=plan.repository, folder=folder, tell=tell, effort=plan.effort)
    try:
        async with stage.shared:
            for number, scenario in enumerate(scenarios, start=1):
                left = plan.budget_s - (time.monotonic() - begin)
                stage.tell = _voice(tell, f"{scenario.name} ({number}/{len(scenarios)})")
                try:
                    outcome.results.append(await _in_time(scenario, stage, plan, left))
                except Exception as error:  # of whatever kind: the others still count
                    outcome.failures[scenario.name] = _told(error)
                    stage.tell(f"NOT MEASURED: {_told(error)}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        outcome.seconds = time.monotonic() - begin
    return outcome


async def _in_time(scenario: Scenario, stage: Stage, plan: RunPlan, left_s: float) -> Result:
    running = asyncio.timeout(left_s)
    try:
        if left_s > 0:
            async with running:
                return await _run(scenario, stage, plan)
    except TimeoutError:
        # One of the scenario's own says something else.
        if not running.expired():
            raise
    raise OutOfTime(f"the {plan.budget_s / 60:.0f} minutes are over: name fewer scenarios, or give --minutes")


async def _run(scenario: Scenario, stage: Stage, plan: RunPlan) -> Result:
    stage.tell(f"begins; about {scenario.minutes * plan.effort:.1f} min")
    commit, load, begin = source_commit(plan.repository), load_average(), time.monotonic()
    found = await scenario.run(stage)
    conditions: dict[str, Any] = {
        **found.conditions,
        "effort": plan.effort,
        "niceness": os.nice(0),
        "load_average": {"before": load, "after": load_average()},
        "seconds": round(time.monotonic() - begin, 1),
    }
    result = Result(
        name=scenario.name,
        summary=scenario.summary,
        conditions=conditions,
        commit=commit,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        machine=describe_machine(),
        command=f"python3 tools/bootstrap.py bench {scenario.name}",
        measures=found.measures,
    )
    path = write_result(plan.results, result)
    path.with_suffix(".svg").write_text(svg_plot(result), encoding="utf-8")
    first = result.measures[0]
    stage.tell(
        f"{first.name}: {first.value:g} {first.unit}" + ("" if first.ratio is None else f", ratio {first.ratio:.3g}")
    )
    return result


def _voice(tell: Callable[[str], None], name: str) -> Callable[[str], None]:
    return lambda text: tell(f"{name}: {text}")


def _told(error: Exception) -> str:
    hint = getattr(error, "hint", "")
    return f"{type(error).__name__}: {error}" + (f" ({hint})" if hint else "")
