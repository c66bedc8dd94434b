"""`python -m tests.fuzz [--runs N] [--jobs N] [--seed N] [--keep] [TARGET ...]`: search, and print what was found."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import Row, campaign, keep, shown, shown_row
from tests.fuzz.targets import TARGETS


def _say(row: Row) -> None:
    # The table comes at the end, which may be an hour away.
    print(shown_row(row), flush=True)


def main(words: list[str]) -> int:
    """Exit code: 0 nothing was found, 1 something was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Search the decoders for faults.")
    parser.add_argument("--runs", type=int, default=1_000_000, help="cases of each target")
    parser.add_argument("--jobs", type=int, default=2, help="how many targets at a time")
    parser.add_argument("--seed", type=int, default=1, help="the same seed and corpus give the same cases")
    parser.add_argument("--keep", action="store_true", help="add inputs that reach something new to the corpus")
    # argparse would hold the empty list against the choices.
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    given = parser.parse_args(words)
    names = given.targets or sorted(TARGETS)
    if unknown := set(names) - TARGETS.keys():
        parser.error(f"no target {', '.join(sorted(unknown))}")
    print(f"seed {given.seed}, {given.runs:,} cases each, {given.jobs} at a time", flush=True)
    with tempfile.TemporaryDirectory(prefix="caimi-found-") as text:
        found = Path(text)
        rows = campaign(names, runs=given.runs, seed=given.seed, jobs=given.jobs, found=found, ended=_say)
        print(shown(rows))
        if given.keep:
            added = keep(names, found)
            print("added to the corpus: " + ", ".join(f"{name} {count}" for name, count in added.items()))
    return 1 if any(row.finding for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
