"""Copies of Anvil's state: whole ones only, and put back only in the place of a torn one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from caimi.devnet.ethereum.anvil import AnvilPlan, write_first_state
from caimi.devnet.ethereum.state_keeper import StateKeeper


@pytest.fixture
def plan(tmp_path: Path) -> AnvilPlan:
    plan = AnvilPlan(port=23_456, chain_id=7, folder=tmp_path / "ethereum")
    write_first_state(plan, balances={}, time=1_700_000_000)
    return plan


def _dump(plan: AnvilPlan, height: int) -> bytes:
    state: dict[str, Any] = {"block": {}, "accounts": {}, "best_block_number": height, "blocks": [], "transactions": []}
    return json.dumps(state).encode()


def _write(plan: AnvilPlan, content: bytes, *, second: int) -> None:
    # In place, as Anvil does.
    plan.state.write_bytes(content)
    os.utime(plan.state, ns=(second * 10**9, second * 10**9))


def _height(plan: AnvilPlan) -> int:
    return int(json.loads(plan.state.read_bytes())["best_block_number"])


def _looked(keeper: StateKeeper) -> StateKeeper:
    keeper.look()
    keeper.look()
    return keeper


def test_torn_state_is_replaced_by_the_last_whole_one(plan: AnvilPlan) -> None:
    keeper = StateKeeper(plan)
    for second in (1, 2, 3):
        _write(plan, _dump(plan, second), second=second)
        _looked(keeper)
    torn = _dump(plan, 4)[:-9]
    _write(plan, torn, second=4)
    _looked(keeper)
    StateKeeper(plan).mend()
    assert _height(plan) == 3


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_whatever_is_left_of_a_dump_the_copy_is_taken(plan: AnvilPlan, cut: int) -> None:
    _write(plan, _dump(plan, 1), second=1)
    keeper = _looked(StateKeeper(plan))
    _write(plan, _dump(plan, 2)[:cut], second=2)
    keeper.mend()
    assert _height(plan) == 1


def test_whole_state_stays_though_it_was_not_copied(plan: AnvilPlan) -> None:
    _write(plan, _dump(plan, 1), second=1)
    keeper = _looked(StateKeeper(plan))
    _write(plan, _dump(plan, 2), second=2)
    keeper.mend()
    assert _height(plan) == 2


def test_torn_state_that_ends_like_a_whole_one_costs_one_more_second(plan: AnvilPlan) -> None:
    _write(plan, _dump(plan, 1), second=1)
    keeper = _looked(StateKeeper(plan))
    _write(plan, b'{"block": {}', second=2)
    _looked(keeper)
    _write(plan, b"", second=3)
    keeper.mend()
    assert _height(plan) == 1


def test_state_that_is_being_written_is_not_copied(plan: AnvilPlan) -> None:
    _write(plan, _dump(plan, 1), second=1)
    keeper = StateKeeper(plan)
    keeper.look()
    _write(plan, _dump(plan, 2), second=2)
    keeper.look()
    assert not (plan.folder / "state.kept.json").exists()
    keeper.look()
    assert json.loads((plan.folder / "state.kept.json").read_bytes())["best_block_number"] == 2


def test_nothing_whole_leaves_everything_as_it_is(plan: AnvilPlan) -> None:
    _write(plan, b"{", second=1)
    StateKeeper(plan).mend()
    assert plan.state.read_bytes() == b"{"


_SENDER, _CONTRACT = "0x" + "ab" * 20, "0x" + "cd" * 20


def _busy_dump(height: int, *, nonce: int, mined: int) -> bytes:
    accounts: dict[str, dict[str, Any]] = {
        _SENDER: {"nonce": str(nonce), "balance": "0x0", "code": "0x", "storage": {}},
        _CONTRACT: {"nonce": "7", "balance": "0x0", "code": "0x6001", "storage": {}},
    }
    transactions = [{"info": {"from": _SENDER.upper().replace("X", "x"), "nonce": hex(n)}} for n in range(mined)]
    state: dict[str, Any] = {
        "block": {},
        "accounts": accounts,
        "best_block_number": height,
        "blocks": [],
        "transactions": transactions,
    }
    return json.dumps(state).encode()


def test_state_whose_accounts_are_newer_than_its_blocks_is_not_taken(plan: AnvilPlan) -> None:
    _write(plan, _busy_dump(1, nonce=3, mined=3), second=1)
    keeper = _looked(StateKeeper(plan))
    _write(plan, _busy_dump(2, nonce=5, mined=4), second=2)
    _looked(keeper).mend()
    assert _height(plan) == 1


def test_first_transaction_of_an_account_may_be_the_missing_one(plan: AnvilPlan) -> None:
    _write(plan, _busy_dump(1, nonce=0, mined=0), second=1)
    keeper = _looked(StateKeeper(plan))
    _write(plan, _busy_dump(2, nonce=1, mined=0), second=2)
    _looked(keeper).mend()
    assert _height(plan) == 1


def test_blocks_that_were_taken_back_make_no_state_unsound(plan: AnvilPlan) -> None:
    _write(plan, _busy_dump(1, nonce=3, mined=3), second=1)
    keeper = _looked(StateKeeper(plan))
    _write(plan, _busy_dump(2, nonce=4, mined=6), second=2)
    _looked(keeper).mend()
    assert _height(plan) == 2


def test_state_of_two_moments_is_better_than_none(plan: AnvilPlan) -> None:
    _write(plan, _busy_dump(1, nonce=3, mined=2), second=1)
    keeper = _looked(StateKeeper(plan))
    _write(plan, _busy_dump(2, nonce=4, mined=3)[:-5], second=2)
    keeper.mend()
    assert _height(plan) == 1
