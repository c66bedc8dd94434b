"""`python -m tests.mutation [--only LEDGER] [--keep-going]`: remove each guard, and see its tests fail."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolchain.cache import Cache, default_root
from toolchain.golang import Go

from tests.mutation.guard import Guard, Ledger, read_guards
from tests.mutation.workshop import ChaincodeShop, ContractShop, ModelShop, Verdict, Workshop

_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_TAIL_LINES: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    guard: Guard
    verdicts: tuple[Verdict, ...]
    seconds: float

    @property
    def is_noticed(self) -> bool:
        return all(verdict is Verdict.FAILED for verdict in self.verdicts)


def main(words: list[str]) -> int:
    """Exit code: 0 every mutant was noticed, 1 one was not, or a test fails without any."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--only", choices=[ledger.value for ledger in Ledger], help="guards of one ledger")
    given = parser.parse_args(words)
    ledgers = [Ledger(given.only)] if given.only else list(Ledger)
    rows: list[_Row] = []
    sound = True
    for ledger in ledgers:
        with tempfile.TemporaryDirectory(prefix="caimi-mutants-") as folder:
            tried, passes = _try_all(ledger, Path(folder))
        rows += tried
        sound = sound and passes
    print(_shown(rows))
    return 0 if sound and all(row.is_noticed for row in rows) else 1


def _try_all(ledger: Ledger, folder: Path) -> tuple[list[_Row], bool]:
    guards = read_guards(ledger)
    shop = _workshop(ledger, folder, guards)
    sound = True
    for test, verdict in shop.prepare(sorted({test for guard in guards for test in guard.tests})).items():
        print(f"{ledger.value:<10} as it is: {verdict.value:<7} {test}", flush=True)
        sound = sound and verdict is Verdict.PASSED
    if not sound:
        # Of a test that fails anyway a mutant shows nothing.
        _tell(shop)
        return [], False
    rows: list[_Row] = []
    for guard in guards:
        began = time.monotonic()
        verdicts: list[Verdict] = []
        for test in guard.tests:
            verdicts.append(shop.judge(test, guard))
            if verdicts[-1] is Verdict.BROKEN:
                _tell(shop)
        rows.append(_Row(guard=guard, verdicts=tuple(verdicts), seconds=time.monotonic() - began))
        print(_line(rows[-1]), flush=True)
    return rows, sound


def _workshop(ledger: Ledger, folder: Path, guards: Sequence[Guard]) -> Workshop:
    tools = _tools()
    match ledger:
        case Ledger.MODEL:
            return ModelShop(folder, tools)
        case Ledger.CHAINCODE:
            go = Go(_REPOSITORY, Cache(default_root(dict(os.environ)), say=print), dict(os.environ))
            return ChaincodeShop(folder, {**go.environment, "go": str(go.program)})
        case Ledger.CONTRACT:
            return ContractShop(folder, tools, guards)


def _tools() -> Mapping[str, str]:
    manifest = _REPOSITORY / ".venv" / "caimi-toolchain.json"
    return {name: str(value) for name, value in json.loads(manifest.read_text(encoding="utf-8")).items()}


def _line(row: _Row) -> str:
    verdict = "noticed" if row.is_noticed else "SURVIVED" if Verdict.PASSED in row.verdicts else "BROKEN"
    threats = ", ".join(row.guard.threats)
    return f"{row.guard.ledger.value:<10} {verdict:<9}{row.seconds:>6.1f} s  {threats:<9} {row.guard.says}"


def _shown(rows: Sequence[_Row]) -> str:
    lines = ["", "guards removed, and noticed by their tests:"]
    for ledger in Ledger:
        own = [row for row in rows if row.guard.ledger is ledger]
        if own:
            threats = {threat for row in own for threat in row.guard.threats}
            noticed = sum(row.is_noticed for row in own)
            lines.append(f"{ledger.value:<10} {noticed:>3} of {len(own):>3}, of {len(threats)} ways in")
    return "\n".join([*lines, *(_line(row) for row in rows if not row.is_noticed)])


def _tell(shop: Workshop) -> None:
    for line in shop.output.splitlines()[-_TAIL_LINES:]:
        print(f"    {line}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
