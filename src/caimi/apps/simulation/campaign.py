"""Runs many schedules: `python -m caimi.apps.simulation [--first N] [--count N] [--processes N]`.

Prints how far it is, then what struck and what came of it, by kind. Ends with 1 if a rule was broken, or if a fault
struck at none of the steps where it can while so many schedules were asked for that all have to be met (10,000).
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from caimi.apps.simulation.fault_kinds import FaultKind, coverable
from caimi.apps.simulation.plan import Plan
from caimi.apps.simulation.run import simulate
from caimi.protocol.audit import Finding

__all__ = ["Campaign", "main"]

_ALL_HAVE_TO_BE_MET: Final = 10_000
_TELL_EVERY_S: Final = 20.0
_CHUNK: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _One:
    # What is kept of one schedule.
    seed: int
    findings: tuple[Finding, ...]
    faults: Counter[str]
    outcomes: Counter[str]
    struck: frozenset[tuple[FaultKind, str]]


@dataclass(slots=True)
class Campaign:
    """What many schedules showed."""

    schedules: int = 0
    findings: list[tuple[int, Finding]] = field(default_factory=list[tuple[int, Finding]])
    faults: Counter[str] = field(default_factory=Counter[str])
    """By kind, how often each struck."""
    outcomes: Counter[str] = field(default_factory=Counter[str])
    """Of publications, requests and direct calls, by what became of them."""
    struck: set[tuple[FaultKind, str]] = field(default_factory=set[tuple[FaultKind, str]])

    @property
    def missing(self) -> list[tuple[FaultKind, str]]:
        """Faults and the steps at which they did not strike, though they can."""
        return sorted(coverable() - self.struck, key=lambda pair: (pair[1], pair[0].value))

    def add(self, one: _One) -> None:
        """Count one schedule."""
        self.schedules += 1
        self.findings += [(one.seed, finding) for finding in one.findings]
        self.faults += one.faults
        self.outcomes += one.outcomes
        self.struck |= one.struck

    def summary(self) -> Iterable[str]:
        """The lines that are shown at the end."""
        yield f"{self.schedules} schedules, {len(self.findings)} broken rules"
        yield "faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        yield "outcomes: " + ", ".join(f"{what} {count}" for what, count in sorted(self.outcomes.items()))
        yield f"faults at named steps: {len(coverable() & self.struck)} of {len(coverable())}"
        for kind, step in self.missing:
            yield f"  not met: {kind.value} at {step}"


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m caimi.apps.simulation", description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="first seed (default: 0)")
    parser.add_argument("--count", type=int, default=_ALL_HAVE_TO_BE_MET, help="how many (default: 10000)")
    parser.add_argument("--processes", type=int, default=2, help="how many at a time (default: 2)")
    asked = parser.parse_args(arguments)
    campaign, told = Campaign(), time.monotonic()
    began = told
    with multiprocessing.get_context("spawn").Pool(asked.processes) as pool:
        for one in pool.imap_unordered(_run, range(asked.first, asked.first + asked.count), chunksize=_CHUNK):
            campaign.add(one)
            for finding in one.findings:
                _say(f"seed {one.seed}: {finding.rule} at {finding.lane}: {finding.subject} {finding.detail}")
            if time.monotonic() - told >= _TELL_EVERY_S:
                told = time.monotonic()
                _say(f"{campaign.schedules} of {asked.count} schedules in {told - began:.0f} s")
    for line in campaign.summary():
        _say(line)
    is_incomplete = asked.count >= _ALL_HAVE_TO_BE_MET and bool(campaign.missing)
    return 1 if campaign.findings or is_incomplete else 0


def _run(seed: int) -> _One:
    result = simulate(seed, Plan())
    outcomes = Counter(f"publication {state}" for lane in result.states.values() for state in lane.values())
    outcomes.update(f"request {state}" for lane in result.requests.values() for state in lane.values())
    outcomes.update({f"direct {what}": count for what, count in result.direct.items()})
    kinds = {kind.value for kind in FaultKind}
    told = (line.split(" ", 1)[1] for line in result.trace.lines if " fault " in line)
    faults = Counter(kind for line in told for kind in [line.removeprefix("fault ").split(" at ")[0]] if kind in kinds)
    return _One(seed=seed, findings=result.findings, faults=faults, outcomes=outcomes, struck=result.struck)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
