"""What a registry is never created with; what ledgers have to agree on is in vectors/registry/creation.json."""

from __future__ import annotations

import pytest

from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import Limits, RegistryConfig
from caimi.types.errors import OutOfRange
from caimi.types.primitives import Address, Bytes32
from caimi.types.records import Attestation, Genesis, Lane

_WORD = Bytes32(b"\x01" * 32)
_GENESIS = Genesis(
    root_genesis=_WORD,
    validators=tuple(Address(bytes([n]) * 20) for n in range(1, 5)),
    f=1,
    t=2,
    operators=(Address(b"\x09" * 20),),
    attestation=Attestation.NONE,
    nonce=_WORD,
)


@pytest.mark.parametrize(
    ("deposit", "window", "values"),
    [(1 << 128, 30, (128, 1 << 128)), (1, -1, (32, -1)), (1, 1 << 32, (32, 1 << 32))],
    ids=["a deposit of 129 bits", "a negative window", "a window of 33 bits"],
)
def test_rejects_numbers_that_no_call_could_hold(deposit: int, window: int, values: tuple[int, int]) -> None:
    lane = Lane(chain=_WORD, registry=_WORD)
    lawful = RegistryConfig(lane=lane, genesis=_GENESIS, min_deposit=1, clock_window=0)
    assert Registry.create(lawful).state.epoch == 1
    with pytest.raises(OutOfRange) as caught:
        Registry.create(RegistryConfig(lane=lane, genesis=_GENESIS, min_deposit=deposit, clock_window=window))
    assert caught.value.values == values


@pytest.mark.parametrize(
    ("limits", "bits"),
    [
        (Limits(resume_delay=1 << 32), 32),
        (Limits(withdrawal_cap=1 << 128), 128),
        (Limits(lease_cap=1 << 64), 64),
        (Limits(withdrawal_cap=-1), 128),
    ],
)
def test_rejects_limits_out_of_range(limits: Limits, bits: int) -> None:
    lane = Lane(chain=_WORD, registry=_WORD)
    config = RegistryConfig(lane=lane, genesis=_GENESIS, min_deposit=1, clock_window=0, limits=limits)
    with pytest.raises(OutOfRange) as caught:
        Registry.create(config)
    assert caught.value.values[0] == bits
