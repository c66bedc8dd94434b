"""One search in one process: `python -m tests.fuzz.search TARGET RUNS SEED REPORT POOL [LIBFUZZER-WORDS ...]`.

Guided, with `-` for POOL: libFuzzer chooses the inputs by the branches that they reach in our code, which costs most of
the time. Unguided: our code is as it is, and every input is a change of one from the folder POOL. Either way libFuzzer
ends this process: at the first case that raises anything but a declared refusal, takes more than `MOST_CPU_S`, more
than `MOST_MEMORY` beyond what the process had, or does not come back at all; and, with all well, after RUNS cases.
"""

from __future__ import annotations

import gc
import importlib
import json
import math
import resource
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from tests.fuzz.target import Target

__all__ = ["GUIDED", "MOST_CPU_S", "MOST_MEMORY", "main"]

GUIDED: Final = "-"
"""Stands for the folder of inputs where the branches choose."""

MOST_CPU_S: Final = 2.0
"""Seconds of the processor that one case may take."""
MOST_MEMORY: Final = 512 << 20
"""Bytes that all cases together may take: nothing is kept from one to the next."""
_LOOKED_EVERY_S: Final = 2.0
# By the clock, for what waits without working: a machine that was asleep meanwhile is a false finding, to be run again.
_HANGS_AFTER_S: Final = 60
_BLIND_PERCENT: Final = 30
_REPORTED_EVERY: Final = 1024
_Mutator: TypeAlias = Callable[[bytes, int, int], bytes]
# How many changes an unguided case is away from its input: nothing reached in between is kept.
_CHANGES: Final = (1, 1, 1, 2, 2, 3)


class _Search:
    def __init__(self, name: str, *, runs: int, report: Path) -> None:
        from tests.fuzz.targets import target_of

        self.target = target_of(name)
        self._runs = runs
        self._report = report
        self._done = 0
        self._verdicts: Counter[str] = Counter()
        self._slowest = 0.0
        self._case_began = math.inf
        self._renew()
        self._began, self._cpu_before = time.monotonic(), time.process_time()
        self._memory_before = _resident()

    def one(self, data: bytes) -> None:
        """Judge one input."""
        if self._done and self.target.renew_every and self._done % self.target.renew_every == 0:
            self._renew()
        began = self._case_began = time.process_time()
        verdict = self._check(data)
        took = time.process_time() - began
        self._case_began = math.inf
        if took > MOST_CPU_S:
            raise AssertionError(f"{took:.1f} s for {len(data)} bytes: {verdict}")
        self._verdicts[verdict] += 1
        self._slowest = max(self._slowest, took)
        self._done += 1
        # The engine ends the process without coming back here, so what was found is written on the way.
        if self._done % _REPORTED_EVERY == 0 or self._done >= self._runs:
            self._write()

    def watch(self) -> None:
        """End cases that would not end by themselves."""

        def look(_signal: int, _frame: object) -> None:
            took = time.process_time() - self._case_began
            if took > MOST_CPU_S:
                raise AssertionError(f"not back after {took:.1f} s of the processor")

        signal.signal(signal.SIGPROF, look)
        signal.setitimer(signal.ITIMER_PROF, _LOOKED_EVERY_S, _LOOKED_EVERY_S)

    def _renew(self) -> None:
        self._check = self.target.prepare()
        # What the check works on is there to the end: looking through it again and again would be the cases' time.
        gc.collect()
        gc.freeze()

    def _write(self) -> None:
        grown = max(0, _resident() - self._memory_before)
        report = {
            "cases": self._done,
            "seconds": time.monotonic() - self._began,
            "cpu": time.process_time() - self._cpu_before,
            "slowest": self._slowest,
            "grown": grown,
            "verdicts": dict(self._verdicts.most_common()),
        }
        self._report.write_text(json.dumps(report), encoding="utf-8")


def _resident() -> int:
    # The most that it ever was. What getrusage says may be the parent's, from before this program began.
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def _unlimit_memory() -> None:
    # A search that another one started has its limit, in which the chaincode would not even start.
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _limit_memory() -> None:
    size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (size + MOST_MEMORY, hard))


def _mutator(target: Target, pool: Sequence[bytes], blind: Callable[[bytes, int], bytes]) -> _Mutator:
    def once(data: bytes, most: int, random: Random) -> bytes:
        if random.randrange(100) < _BLIND_PERCENT:
            return blind(data, most)
        return target.mutation(data, random)[:most]

    def guided(data: bytes, most: int, number: int) -> bytes:
        return once(data, most, Random(number))

    def unguided(_data: bytes, most: int, number: int) -> bytes:
        # The engine learns nothing here, so it would go on with the same input for ever.
        random = Random(number)
        data = random.choice(pool)
        for _ in range(random.choice(_CHANGES)):
            data = once(data, most, random)
        return data

    return unguided if pool else guided


def main(words: list[str]) -> None:
    """Search; does not come back."""
    name, runs, seed, report, folder = words[0], int(words[1]), int(words[2]), Path(words[3]), words[4]
    _unlimit_memory()
    # By its name: it has no types, and is not there on every platform.
    atheris: Any = importlib.import_module("atheris")
    is_guided = folder == GUIDED
    with atheris.instrument_imports(include=["caimi"]) if is_guided else nullcontext():
        search = _Search(name, runs=runs, report=report)
    pool = [] if is_guided else [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    settings = [f"-runs={runs}", f"-seed={seed}", f"-max_len={search.target.longest}", f"-timeout={_HANGS_AFTER_S}"]
    # Names of errors and the like would be taken as hints for further inputs; the mutations know the forms already.
    settings += ["-print_final_stats=1", "-verbosity=0", "-reload=0", "-len_control=0"]
    settings += [f"-mutate_depth={2 if is_guided else 1}"]
    _limit_memory()
    search.watch()
    # Merging starts this process again, in words of the shell.
    again = shlex.join([sys.executable, "-m", "tests.fuzz.search", *words[:5]])
    # Setup puts another function in the place of Mutate.
    mutator = _mutator(search.target, pool, lambda data, most: atheris.Mutate(data, most))
    atheris.Setup([again, *settings, *words[5:]], search.one, custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
