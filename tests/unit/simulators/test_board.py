"""The simulated board counts leases and stops them as the chaincode does (spec 35)."""

from __future__ import annotations

import pytest

from caimi.simulators.board import SimulatedBoard
from caimi.types.errors import CapReached, Paused
from caimi.types.primitives import ZERO32, Bytes32, Epoch, UnixSeconds
from caimi.types.records import HostKey, Lane, LeaseRequest
from caimi.wire.digests import network_id, typed_digest
from caimi.wire.functions import encode_call
from tests.conformance.scenario import OPERATOR, genesis, key, word

_NOW = UnixSeconds(1_800_000_000)
_GENESIS = genesis(word("board"))
_NETWORK = network_id(_GENESIS)
_LANE = Lane(chain=word("chain"), registry=word("registry"))
_HOST = key("host")


def board(cap: int) -> SimulatedBoard:
    return SimulatedBoard(_GENESIS, _LANE, now=lambda: _NOW, epoch=Epoch(1), lease_cap=cap)


def lease(label: str, publication: Bytes32 = ZERO32) -> bytes:
    host = HostKey(sealing_key=word("seal"), signing_key=_HOST.address, epoch=Epoch(1), until=UnixSeconds(_NOW + 900))
    request = LeaseRequest(
        at=_LANE,
        publication=publication,
        sealing_key=host.sealing_key,
        signing_key=host.signing_key,
        epoch=Epoch(1),
        purpose=1,
        opening=ZERO32,
        end=UnixSeconds(_NOW + 600),
        calls=1,
        nonce=word(label),
        deadline=UnixSeconds(_NOW + 60),
    )
    signature = _HOST.sign(typed_digest(_NETWORK, request)).to_bytes()
    return encode_call("openLease", request, signature, host, OPERATOR.sign(typed_digest(_NETWORK, host)).to_bytes())


def test_leases_of_an_operator_end_at_the_cap_of_each_publication() -> None:
    made = board(cap=2)
    for label in ("first", "second", "second"):
        made.run(lease(label))
    with pytest.raises(CapReached) as caught:
        made.run(lease("third"))
    assert caught.value.values == (2, 3)
    made.run(lease("third", word("another publication")))
    assert len(made.leases) == 3


def test_without_a_cap_nothing_ends() -> None:
    made = board(cap=0)
    for n in range(5):
        made.run(lease(f"lease {n}"))
    assert len(made.leases) == 5


def test_rejects_new_leases_while_paused() -> None:
    made = board(cap=0)
    made.run(lease("before"))
    made.is_paused = lambda: True
    made.run(lease("before"))
    with pytest.raises(Paused):
        made.run(lease("after"))
    assert len(made.leases) == 1
