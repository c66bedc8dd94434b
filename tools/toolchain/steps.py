"""Steps of a check: each is run, also after one has failed, timed, and shown in one table at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Step", "run_steps"]


@dataclass(frozen=True)
class Step:
    """One check."""

    name: str
    run: Callable[[], int]
    """Does the work, prints what it finds, returns 0 if all is well."""
    needs: Path | None = None
    """The step is left out while this folder or file does not exist."""


@dataclass(frozen=True)
class _Result:
    name: str
    code: int
    seconds: float


def run_steps(steps: Sequence[Step]) -> int:
    """Run all steps whose folder exists. Returns 0 if every one returned 0 and there was at least one.

    The last line of standard output is `N passed, N failed`, counting steps.
    """
    wanted = [step for step in steps if step.needs is None or step.needs.exists()]
    results: list[_Result] = []
    for number, step in enumerate(wanted, start=1):
        _out(f"\n=== {number}/{len(wanted)} {step.name}")
        begin = time.monotonic()
        code = step.run()
        results.append(_Result(step.name, code, time.monotonic() - begin))
        _out(f"=== {step.name}: {_verdict(code)} in {results[-1].seconds:.1f} s")
    failed = [result for result in results if result.code != 0]
    _out("\n" + "\n".join(_row(result) for result in results))
    _out(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not results else 0


def _verdict(code: int) -> str:
    return "passed" if code == 0 else f"FAILED ({code})"


def _row(result: _Result) -> str:
    return f"{_verdict(result.code):<14}{result.seconds:>8.1f} s  {result.name}"


def _out(text: str) -> None:
    sys.stdout.write(text + "\n")
    # Children write to the same place; without this their lines would come first.
    sys.stdout.flush()
