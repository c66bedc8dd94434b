"""One search in one process: `python -m tests.fuzz.search TARGET RUNS SEED REPORT [LIBFUZZER-WORDS ...]`.

libFuzzer chooses the inputs by the branches that they reach in our code. It ends this process: at the first case that
raises anything but a declared refusal, takes more than `MOST_CPU_S`, more than `MOST_MEMORY` beyond what the process
had, or does not come back at all; and, with all well, after RUNS cases.
"""

from __future__ import annotations

import importlib
import json
import resource
import shlex
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Final

__all__ = ["MOST_CPU_S", "MOST_MEMORY", "main"]

MOST_CPU_S: Final = 2.0
"""Seconds of the processor that one case may take."""
MOST_MEMORY: Final = 512 << 20
"""Bytes that all cases together may take: nothing is kept from one to the next."""
_HANGS_AFTER_S: Final = 60
_BLIND_PERCENT: Final = 30
_REPORTED_EVERY: Final = 1024


class _Search:
    def __init__(self, name: str, *, runs: int, report: Path) -> None:
        from tests.fuzz.targets import target_of

        self.target = target_of(name)
        self._check = self.target.prepare()
        self._runs = runs
        self._report = report
        self._done = 0
        self._verdicts: Counter[str] = Counter()
        self._slowest = 0.0
        self._began = time.monotonic()
        self._memory_before = _resident()

    def one(self, data: bytes) -> None:
        """Judge one input."""
        began = time.process_time()
        verdict = self._check(data)
        took = time.process_time() - began
        if took > MOST_CPU_S:
            raise AssertionError(f"{took:.1f} s for {len(data)} bytes: {verdict}")
        self._verdicts[verdict] += 1
        self._slowest = max(self._slowest, took)
        self._done += 1
        # The engine ends the process without coming back here, so what was found is written on the way.
        if self._done % _REPORTED_EVERY == 0 or self._done >= self._runs:
            self._write()

    def _write(self) -> None:
        grown = max(0, _resident() - self._memory_before)
        report = {
            "cases": self._done,
            "seconds": time.monotonic() - self._began,
            "slowest": self._slowest,
            "grown": grown,
            "verdicts": dict(self._verdicts.most_common()),
        }
        self._report.write_text(json.dumps(report), encoding="utf-8")


def _resident() -> int:
    # The most that it ever was.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _unlimit_memory() -> None:
    # A search that another one started has its limit, in which the chaincode would not even start.
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _limit_memory() -> None:
    size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (size + MOST_MEMORY, hard))


def main(words: list[str]) -> None:
    """Search; does not come back."""
    name, runs, seed, report = words[0], int(words[1]), int(words[2]), Path(words[3])
    _unlimit_memory()
    # By its name: it has no types, and is not there on every platform.
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["caimi"]):
        search = _Search(name, runs=runs, report=report)
    target = search.target

    def mutated(data: bytes, most: int, number: int) -> bytes:
        random = Random(number)
        if random.randrange(100) < _BLIND_PERCENT:
            return atheris.Mutate(data, most)
        return target.mutation(data, random)[:most]

    settings = [f"-runs={runs}", f"-seed={seed}", f"-max_len={target.longest}", f"-timeout={_HANGS_AFTER_S}"]
    # Names of errors and the like would be taken as hints for further inputs; the mutations know the forms already.
    settings += ["-print_final_stats=1", "-verbosity=0", "-reload=0", "-len_control=0", "-mutate_depth=2"]
    _limit_memory()
    # Merging starts this process again, in words of the shell.
    again = shlex.join([sys.executable, "-m", "tests.fuzz.search", *words[:4]])
    atheris.Setup([again, *settings, *words[4:]], search.one, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
