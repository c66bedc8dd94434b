"""The simulated board counts leases and stops them as the chaincode does (spec 35)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.quorum import ValidatorSet
from caimi.protocol.registry_state import Epochs, EpochSigners
from caimi.simulators.board import SimulatedBoard
from caimi.types.errors import (
    BadQuorum,
    BadSetChange,
    BadValidatorSet,
    CapReached,
    Paused,
    Refusal,
    TooFewSignatures,
    UnknownSigner,
    WrongEpoch,
    WrongRegistry,
    WrongSigner,
)
from caimi.types.primitives import ZERO32, Bytes32, Epoch, SignerIndex, UnixSeconds
from caimi.types.records import BoardPost, EpochSet, HostKey, Lane, LeaseRequest, PartialPost, SetProposal
from caimi.wire.digests import network_id, sealed_hash, typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.conformance.scenario import OPERATOR, VALIDATORS, genesis, key, word

_NOW = UnixSeconds(1_800_000_000)
_GENESIS = genesis(word("board"))
_NETWORK = network_id(_GENESIS)
_LANE = Lane(chain=word("chain"), registry=word("registry"))
_HOST = key("host")


_NEXT = (VALIDATORS[3], *(key(f"next {n}") for n in range(3)))
_FIRST = EpochSigners(epoch=Epoch(1), validators=ValidatorSet.from_genesis(_GENESIS))
_SECOND = EpochSigners(
    epoch=Epoch(2), validators=ValidatorSet(validators=tuple(k.address for k in _NEXT), f=1, t=2), set_hash=word("set")
)


def board(cap: int) -> SimulatedBoard:
    return SimulatedBoard(_GENESIS, _LANE, now=lambda: _NOW, epoch=Epoch(1), lease_cap=cap)


def lease(label: str, publication: Bytes32 = ZERO32, epoch: int = 1, host_epoch: int = 1) -> bytes:
    host = HostKey(
        sealing_key=word("seal"), signing_key=_HOST.address, epoch=Epoch(host_epoch), until=UnixSeconds(_NOW + 900)
    )
    request = LeaseRequest(
        at=_LANE,
        publication=publication,
        sealing_key=host.sealing_key,
        signing_key=host.signing_key,
        epoch=Epoch(epoch),
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


# --- epochs (spec 42)


def proposal(epoch: int = 2, **changes: Any) -> SetProposal:
    accounts = tuple(k.address for k in _NEXT)
    following = EpochSet(epoch=Epoch(epoch), validators=accounts, f=1, t=2, transcript=ZERO32)
    return SetProposal(at=_LANE, epoch=Epoch(1), next=dataclasses.replace(following, **changes))


def proposed(made: SetProposal, signers: Sequence[SigningKey] = VALIDATORS[:3]) -> bytes:
    digest = typed_digest(_NETWORK, made)
    return encode_call(
        "proposeSet", made, tuple(k.sign(digest).as_record(SignerIndex(n)) for n, k in enumerate(signers))
    )


def posted(epoch: int, index: int, by: SigningKey) -> bytes:
    body = b"message"
    post = BoardPost(at=_LANE, epoch=Epoch(epoch), phase=1, index=index, body_hash=keccak256(body))
    return encode_call("postBoard", post, by.sign(typed_digest(_NETWORK, post)).to_bytes(), body)


def test_recipients_post_once_they_are_proposed() -> None:
    made = board(cap=0)
    with pytest.raises(UnknownSigner):
        made.run(posted(2, 5, _NEXT[1]))
    with pytest.raises(WrongEpoch):
        made.run(posted(2, 1, VALIDATORS[0]))
    made.run(proposed(proposal()))
    made.run(proposed(proposal(), ()))
    for index, k in enumerate((*VALIDATORS, *_NEXT[1:]), start=1):
        made.run(posted(2, index, k))
    made.run(posted(1, 2, VALIDATORS[1]))
    with pytest.raises(WrongSigner) as caught:
        made.run(posted(2, 5, VALIDATORS[3]))
    assert caught.value.values == (_NEXT[1].address, VALIDATORS[3].address)
    made.run(proposed(proposal(3)))
    with pytest.raises(WrongEpoch):
        made.run(posted(2, 4, VALIDATORS[3]))
    made.run(posted(3, 7, _NEXT[3]))


_BAD: list[tuple[SetProposal, int, type[Refusal]]] = [
    (dataclasses.replace(proposal(), epoch=Epoch(2)), 3, WrongEpoch),
    (proposal(), 2, TooFewSignatures),
    (dataclasses.replace(proposal(), at=Lane(chain=word("x"), registry=word("y"))), 3, WrongRegistry),
    (proposal(f=2), 3, BadQuorum),
    (proposal(validators=(_NEXT[0].address,) * 4), 3, BadValidatorSet),
    (proposal(1), 3, BadSetChange),
    (proposal(transcript=word("transcript")), 3, BadSetChange),
]


@pytest.mark.parametrize(("made", "count", "error"), _BAD)
def test_rejects_proposals(made: SetProposal, count: int, error: type[Refusal]) -> None:
    there = board(cap=0)
    with pytest.raises(error):
        there.run(proposed(made, VALIDATORS[:count]))
    assert there.height == 0


def test_a_replaced_proposal_does_not_come_again() -> None:
    made = board(cap=0)
    made.run(proposed(proposal(3)))
    for number in (2, 3):
        with pytest.raises(BadSetChange):
            made.run(proposed(proposal(number, t=3)))


def test_leases_of_two_epochs() -> None:
    now = [Epochs(present=_FIRST)]
    made = SimulatedBoard(_GENESIS, _LANE, now=lambda: _NOW, epoch=Epoch(1), lease_cap=1, epochs=lambda: now[0])
    made.run(lease("old"))
    (old,) = made.leases
    now[0] = Epochs(present=_SECOND, before=_FIRST)
    for epoch, host_epoch in ((1, 1), (2, 3)):
        with pytest.raises(WrongEpoch):
            made.run(lease("new", epoch=epoch, host_epoch=host_epoch))
    made.run(lease("new", epoch=2))
    new = next(name for name in made.leases if name != old)
    sealed = b"sealed"

    def partial(of: Bytes32, index: int, by: SigningKey) -> None:
        post = PartialPost(at=_LANE, lease=of, index=index, sealed_hash=sealed_hash(sealed))
        made.run(encode_call("postPartial", post, by.sign(typed_digest(_NETWORK, post)).to_bytes()), sealed)

    partial(old, 2, VALIDATORS[1])
    partial(new, 2, _NEXT[1])
    for of, by in ((old, _NEXT[2]), (new, VALIDATORS[2])):
        with pytest.raises(WrongSigner):
            partial(of, 3, by)
    now[0] = Epochs(present=_SECOND)
    with pytest.raises(WrongEpoch) as caught:
        partial(old, 3, _NEXT[2])
    assert caught.value.values == (2, 1)
