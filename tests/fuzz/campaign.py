"""A search of several decoders at once: each in processes of its own, from the vectors and the kept corpus.

Following the branches makes a case up to four times as slow. What it finds, it finds in the first part of a search;
the cases of the other part are changes of all that the first one reached, on our code as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tests.conformance.chaincode_driver import build_driver
from tests.fuzz.arguments import DRIVER_VARIABLE
from tests.fuzz.search import GUIDED
from tests.fuzz.targets import target_of

__all__ = ["CORPUS", "Finding", "Row", "campaign", "keep", "shown", "shown_row"]

CORPUS: Final = Path(__file__).parent / "corpus"
"""Inputs that earlier searches found, beyond the vectors: a folder for each target, each file named by its hash."""
_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_TAIL_LINES: Final = 40
_LONGEST_S: Final = 3 * 3600
# Of so many cases one is guided by branches, but of a short search all.
_ONE_GUIDED_OF: Final = 10
_GUIDED_AT_LEAST: Final = 2_000
_HEAD: Final = (
    "target             cases    guided  per CPU s  accepted  classes  slowest ms  grown MiB  CPU s  wall s  verdict"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What ended a search before its time."""

    text: str
    """The last words of the process: the exception, or what the engine says."""
    input: bytes | None
    """None if the process ended outside of a case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one search did."""

    target: str
    cases: int
    guided: int
    """How many of them were chosen by the branches that they reach."""
    seconds: float
    cpu: float
    """Seconds of the search's own processes; of the chaincode's there is more for `arguments`."""
    slowest: float
    """Seconds of the processor that the slowest case took."""
    grown: int
    """Bytes that the process grew by."""
    verdicts: dict[str, int]
    finding: Finding | None


def campaign(
    names: Sequence[str],
    *,
    runs: int,
    seed: int,
    jobs: int,
    found: Path | None = None,
    ended: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Search each target for so many cases, `jobs` of them at a time.

    Arguments:
        found: folder that gets, for each target, the inputs that reached something new.
        ended: is told each row as soon as it is there, from other threads.
    """

    def one(name: str) -> Row:
        row = _search(name, folder, runs=runs, seed=seed, found=found)
        if ended is not None:
            ended(row)
        return row

    with _prepared(names) as folder, ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, names))


def keep(names: Sequence[str], found: Path) -> dict[str, int]:
    """Add to the kept corpus what reaches more than the vectors and the corpus do; how many inputs, by target."""
    added: dict[str, int] = {}
    with _prepared(names) as folder:
        for name in names:
            known = folder / "inputs" / name
            before = set(os.listdir(known))
            words = [name, "0", "1", folder / f"{name}.json", GUIDED, "-merge=1", known, found / name]
            _run(words, folder)
            new = sorted(set(os.listdir(known)) - before)
            (CORPUS / name).mkdir(parents=True, exist_ok=True)
            for one in new:
                shutil.copy(known / one, CORPUS / name / one)
            added[name] = len(new)
    return added


def shown(rows: Sequence[Row]) -> str:
    """A table, and below it what was found."""
    lines = [_HEAD, *map(shown_row, rows)]
    for row in rows:
        if row.finding is not None:
            text = "none" if row.finding.input is None else row.finding.input.hex()
            lines += ["", f"{row.target}: {row.finding.text}", f"{row.target}: input in hex: {text}"]
    return "\n".join(lines)


def shown_row(row: Row) -> str:
    """One line of the table."""
    refusals = len(row.verdicts.keys() - {"accepted"})
    rate = row.cases / row.cpu if row.cpu else 0.0
    verdict = "clean" if row.finding is None else "FOUND"
    return (
        f"{row.target:<14}{row.cases:>10,}{row.guided:>10,}{rate:>11,.0f}{row.verdicts.get('accepted', 0):>10,}"
        f"{refusals:>9}{row.slowest * 1000:>12.1f}{row.grown / (1 << 20):>11.0f}{row.cpu:>7.0f}{row.seconds:>8.0f}"
        f"  {verdict}"
    )


@contextmanager
def _prepared(names: Sequence[str]) -> Generator[Path]:
    # A folder with the inputs to begin with, and the chaincode to compare with.
    with tempfile.TemporaryDirectory(prefix="caimi-fuzz-") as text:
        folder = Path(text)
        if "arguments" in names and DRIVER_VARIABLE not in os.environ:
            os.environ[DRIVER_VARIABLE] = str(build_driver(folder))
        try:
            for name in names:
                inputs = folder / "inputs" / name
                inputs.mkdir(parents=True)
                kept = [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
                for data in (*target_of(name).seeds(), *kept):
                    (inputs / hashlib.sha1(data).hexdigest()).write_bytes(data)
            yield folder
        finally:
            if Path(os.environ.get(DRIVER_VARIABLE, "/")).parent == folder:
                del os.environ[DRIVER_VARIABLE]


def _search(name: str, folder: Path, *, runs: int, seed: int, found: Path | None) -> Row:
    own, inputs = folder / name, folder / "inputs" / name
    reached = own / "reached" if found is None else found / name
    reached.mkdir(parents=True, exist_ok=True)
    guided = min(runs, max(_GUIDED_AT_LEAST, runs // _ONE_GUIDED_OF))
    first = _part(name, own / "guided", [GUIDED, reached, inputs], runs=guided, seed=seed)
    first = replace(first, guided=first.cases)
    if first.finding is not None or guided == runs:
        return first
    pool = own / "pool"
    for known in (inputs, reached):
        shutil.copytree(known, pool, dirs_exist_ok=True)
    return _together(first, _part(name, own / "unguided", [pool], runs=runs - guided, seed=seed))


def _together(first: Row, second: Row) -> Row:
    return replace(
        second,
        cases=first.cases + second.cases,
        guided=first.guided,
        seconds=first.seconds + second.seconds,
        cpu=first.cpu + second.cpu,
        slowest=max(first.slowest, second.slowest),
        grown=max(first.grown, second.grown),
        verdicts=dict((Counter(first.verdicts) + Counter(second.verdicts)).most_common()),
    )


def _part(name: str, own: Path, inputs: Sequence[object], *, runs: int, seed: int) -> Row:
    # One process; `inputs` begins with what chooses them.
    (own / "faults").mkdir(parents=True)
    report = own / "report.json"
    words = [name, runs, seed, report, inputs[0], f"-artifact_prefix={own}/faults/", *inputs[1:]]
    done = _run(words, own)
    told: dict[str, Any] = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    faults = sorted((own / "faults").iterdir())
    finding = None
    if done.returncode != 0 or faults or told.get("cases", 0) < runs:
        said = "\n".join(_last_words(done.stdout))
        finding = Finding(
            text=f"ended with {done.returncode}\n{said}", input=faults[0].read_bytes() if faults else None
        )
    return Row(
        target=name,
        cases=told.get("cases", 0),
        guided=0,
        seconds=told.get("seconds", 0.0),
        cpu=told.get("cpu", 0.0),
        slowest=told.get("slowest", 0.0),
        grown=told.get("grown", 0),
        verdicts=told.get("verdicts", {}),
        finding=finding,
    )


def _run(words: Sequence[object], folder: Path) -> subprocess.CompletedProcess[str]:
    # Hashes of strings choose the order of sets, and that the branches: the same seed is to find the same.
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": f"{_REPOSITORY}{os.pathsep}{_REPOSITORY / 'tools'}",
    }
    command = [sys.executable, "-m", "tests.fuzz.search", *map(str, words)]
    return subprocess.run(
        command,
        cwd=_REPOSITORY,
        env={**environment, "TMPDIR": str(folder)},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_LONGEST_S,
    )


def _last_words(output: str) -> list[str]:
    lines = output.splitlines()
    start = next((i for i, line in enumerate(lines) if "Uncaught Python exception" in line or "ERROR:" in line), None)
    return lines[-_TAIL_LINES:] if start is None else lines[start : start + _TAIL_LINES]
