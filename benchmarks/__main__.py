"""The command line: `python3 tools/bootstrap.py bench [NAME ...]`, with `--list`, `--json` and more."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.registry import SCENARIOS, UnknownScenario, chosen
from benchmarks.result import to_json
from benchmarks.run import Outcome, RunPlan, run_scenarios
from benchmarks.table import result_table

__all__ = ["main"]

_REPOSITORY: Final = Path(__file__).resolve().parent.parent
_BUDGET_S: Final = 1200.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; returns 0 if every chosen scenario was measured, 1 if one was not, 2 for words that make no sense."""
    given = _parser().parse_args(arguments)
    if given.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name:<22} {scenario.minutes:>4.1f} min  {scenario.summary}")
        return 0
    try:
        scenarios = chosen(given.names)
    except UnknownScenario as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 2
    plan = RunPlan(
        repository=_REPOSITORY, results=given.results.absolute(), effort=given.effort, budget_s=60 * given.minutes
    )
    try:
        outcome = asyncio.run(run_scenarios(scenarios, plan, tell=_tell))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("bench: interrupted; what was finished is written", file=sys.stderr)
        return 130
    _print_json(outcome) if given.json else _print(outcome)
    return 1 if outcome.failures else 0


def _print(outcome: Outcome) -> None:
    for result in outcome.results:
        print(f"\n{result_table(result)}")
    print(f"\n{len(outcome.results)} measured in {outcome.seconds:.0f} s, {len(outcome.failures)} not")
    for name, why in outcome.failures.items():
        print(f"not measured: {name}: {why}")


def _print_json(outcome: Outcome) -> None:
    found = {
        "results": [to_json(result) for result in outcome.results],
        "failures": outcome.failures,
        "seconds": round(outcome.seconds, 1),
    }
    print(json.dumps(found, ensure_ascii=False))


def _tell(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description="Measure CAIMI beside its peers, in the same run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios, also `gas_*`; all without one")
    parser.add_argument("--list", action="store_true", help="the scenarios, what they measure, how long they take")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument(
        "--results",
        type=Path,
        default=_REPOSITORY / "benchmarks" / "results",
        metavar="DIR",
        help="where NAME.json and NAME.svg are written (default: benchmarks/results)",
    )
    parser.add_argument("--effort", type=_effort, default=1.0, metavar="X", help="0.05 to 1: the share of the rounds")
    parser.add_argument(
        "--minutes",
        type=float,
        default=_BUDGET_S / 60,
        metavar="N",
        help="no scenario is begun after so many minutes, and one that runs is given up (default: 20)",
    )
    return parser


def _effort(text: str) -> float:
    value = float(text)
    if not 0.05 <= value <= 1:
        raise argparse.ArgumentTypeError("0.05 to 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
