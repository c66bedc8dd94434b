"""The tables of guards fit the code: each text is there once, each test exists, each way in has a guard."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.mutation.guard import THREATS, Guard, GuardLost, Ledger, mutated, read_guards

ROOT = Path(__file__).resolve().parents[2]
GUARDS = [guard for ledger in Ledger for guard in read_guards(ledger)]
IDS = [f"{guard.ledger.value}: {guard.says}" for guard in GUARDS]


def source(guard: Guard) -> str:
    return (ROOT / guard.ledger.source / guard.file).read_text(encoding="utf-8")


@pytest.mark.parametrize("guard", GUARDS, ids=IDS)
def test_the_guard_is_where_the_table_says(guard: Guard) -> None:
    assert mutated(source(guard), guard) != source(guard)
    assert ("MUTANT" in guard.becomes) == (guard.ledger is Ledger.CONTRACT)


@pytest.mark.parametrize("guard", GUARDS, ids=IDS)
def test_the_tests_exist(guard: Guard) -> None:
    assert guard.tests
    for test in guard.tests:
        match guard.ledger:
            case Ledger.MODEL:
                path, _, name = test.partition("::")
                texts = [(ROOT / path).read_text(encoding="utf-8")]
                if "TestSimulated" in name:
                    texts.append((ROOT / "tests/conformance/incident_contract.py").read_text(encoding="utf-8"))
                last = name.rpartition("::")[2]
                assert not last or any(f"def {last}(" in text for text in texts)
            case Ledger.CHAINCODE:
                package, name = test.split()
                files = (ROOT / "onchain/fabric/internal" / package).glob("*_test.go")
                assert any(f"func {name}(t" in path.read_text(encoding="utf-8") for path in files)
            case Ledger.CONTRACT:
                file, name = test.split()
                assert f"function {name}(" in (ROOT / f"onchain/ethereum/test/{file}.t.sol").read_text(encoding="utf-8")


@pytest.mark.parametrize("ledger", Ledger)
def test_every_way_in_has_a_guard_there(ledger: Ledger) -> None:
    guards = read_guards(ledger)
    assert {threat for guard in guards for threat in guard.threats} == THREATS[ledger]
    assert len({guard.says for guard in guards}) == len(guards)


def test_every_way_in_of_the_spec_is_known() -> None:
    text = (ROOT / "spec/90-threat-model.md").read_text(encoding="utf-8")
    section = text[text.index("## 8. ") :]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| T")]
    assert {threat for row in rows for threat in re.findall(r"T\d+", row)} == set().union(*THREATS.values())


def test_a_text_that_is_gone_or_doubled_is_an_error() -> None:
    guard = GUARDS[0]
    for other in ("", source(guard) * 2):
        with pytest.raises(GuardLost, match=guard.says):
            mutated(other, guard)
