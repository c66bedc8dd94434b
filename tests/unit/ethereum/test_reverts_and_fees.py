"""From revert data to refusals, from estimates to prices."""

from __future__ import annotations

from typing import Any

import pytest

from caimi.chains.ethereum.fees import (
    MAX_CALL_BYTES,
    TX_GAS_CAP,
    FeePolicy,
    Fees,
    check_call_size,
    gas_limit,
)
from caimi.chains.ethereum.reverts import REVERT_SELECTORS, read_revert
from caimi.ports.call_errors import CallTooLarge, FeeBoundReached
from caimi.types.errors import Refusal
from caimi.types.refusals import BY_NAME
from caimi.wire.codec import encode_values
from caimi.wire.keccak import keccak256

_EXAMPLES: dict[str, Any] = {"bytes32": keccak256(b"x"), "address": bytes(range(20))}


def _revert(refusal: type[Refusal], values: tuple[Any, ...]) -> bytes:
    kinds = tuple(argument.split(" ")[0] for argument in refusal.arguments)
    signature = f"{refusal.__name__}({','.join(kinds)})"
    return keccak256(signature.encode())[:4] + encode_values(kinds, values)


@pytest.mark.parametrize("refusal", BY_NAME.values(), ids=BY_NAME)
def test_every_refusal_of_the_table_is_read_with_its_values(refusal: type[Refusal]) -> None:
    values = tuple(_EXAMPLES.get(argument.split(" ")[0], 7) for argument in refusal.arguments)
    read = read_revert(_revert(refusal, values))
    assert isinstance(read, refusal)
    assert read.values == values


def test_selectors_tell_all_refusals_apart() -> None:
    assert len(REVERT_SELECTORS) == len(BY_NAME)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "without a reason"),
        (b"\x12\x34", "0x1234"),
        (b"\x12\x34\x56\x78" + bytes(100), "0x12345678"),
        (keccak256(b"Panic(uint256)")[:4] + bytes(31) + b"\x11", "panic 0x11"),
        (keccak256(b"Error(string)")[:4] + encode_values(("string",), ("no money",)), "no money"),
        (_revert(BY_NAME["NameTaken"], ()) + b"\0", "NameTaken with malformed"),
        (_revert(BY_NAME["SmallDeposit"], (1, 2))[:-1], "SmallDeposit with malformed"),
    ],
)
def test_other_reverts_are_words(data: bytes, words: str) -> None:
    read = read_revert(data)
    assert isinstance(read, str)
    assert words in read


def test_gas_has_a_margin_within_the_cap_of_a_transaction() -> None:
    assert gas_limit(100_000, block_gas_limit=60_000_000) == 125_000
    assert gas_limit(TX_GAS_CAP - 1, block_gas_limit=60_000_000) == TX_GAS_CAP == 16_777_216
    assert gas_limit(TX_GAS_CAP, block_gas_limit=60_000_000) == TX_GAS_CAP


@pytest.mark.parametrize(("estimate", "block"), [(TX_GAS_CAP + 1, 60_000_000), (8_000_001, 8_000_000)])
def test_rejects_calls_beyond_one_transaction(estimate: int, block: int) -> None:
    with pytest.raises(CallTooLarge):
        gas_limit(estimate, block_gas_limit=block)


def test_rejects_calls_that_no_node_keeps() -> None:
    check_call_size(bytes(MAX_CALL_BYTES))
    with pytest.raises(CallTooLarge):
        check_call_size(bytes(MAX_CALL_BYTES + 1))


def test_fees_survive_a_doubled_base_fee() -> None:
    fees = FeePolicy().fees(base_fee=10**9, suggested_tip=10**8, replaced=None)
    assert fees == Fees(max_priority_fee=10**8, max_fee=2 * 10**9 + 10**8)


def test_tip_is_never_below_the_smallest() -> None:
    assert FeePolicy(smallest_tip=5).fees(base_fee=0, suggested_tip=0, replaced=None).max_priority_fee == 5


def test_replacement_pays_an_eighth_more_on_both_prices() -> None:
    policy = FeePolicy()
    before = policy.fees(base_fee=10**9, suggested_tip=10**8, replaced=None)
    again = policy.fees(base_fee=1, suggested_tip=1, replaced=before)
    assert again.max_fee * 8 >= before.max_fee * 9
    assert again.max_priority_fee * 8 >= before.max_priority_fee * 9
    dearer = policy.fees(base_fee=10**11, suggested_tip=10**10, replaced=before)
    assert dearer == policy.fees(base_fee=10**11, suggested_tip=10**10, replaced=None)


def test_tiny_prices_rise_too() -> None:
    once = FeePolicy(smallest_tip=1).fees(base_fee=0, suggested_tip=0, replaced=None)
    again = FeePolicy(smallest_tip=1).fees(base_fee=0, suggested_tip=0, replaced=once)
    assert (again.max_fee, again.max_priority_fee) == (2, 2)


def test_fees_end_at_the_bound() -> None:
    policy = FeePolicy(most=100, smallest_tip=1)
    assert policy.fees(base_fee=60, suggested_tip=10, replaced=None) == Fees(max_priority_fee=10, max_fee=100)
    # A tip that leaves no room is less, a base fee that leaves none is waited for.
    assert policy.fees(base_fee=99, suggested_tip=10, replaced=None) == Fees(max_priority_fee=1, max_fee=100)
    with pytest.raises(FeeBoundReached, match="base fee is 100 wei per gas, at most 100"):
        policy.fees(base_fee=100, suggested_tip=0, replaced=None)


def test_rejects_a_replacement_that_the_bound_makes_useless() -> None:
    policy = FeePolicy(most=100, smallest_tip=1)
    policy.fees(base_fee=10, suggested_tip=1, replaced=Fees(max_priority_fee=1, max_fee=88))
    with pytest.raises(FeeBoundReached, match="101 wei per gas"):
        policy.fees(base_fee=10, suggested_tip=1, replaced=Fees(max_priority_fee=1, max_fee=89))


def test_repeated_replacements_end_at_the_bound() -> None:
    policy, fees = FeePolicy(), FeePolicy().fees(base_fee=10**9, suggested_tip=0, replaced=None)
    with pytest.raises(FeeBoundReached):
        for _ in range(100):
            fees = policy.fees(base_fee=10**9, suggested_tip=0, replaced=fees)
            assert fees.max_priority_fee <= fees.max_fee <= policy.most
