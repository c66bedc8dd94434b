"""Every error of the client becomes one of the ports; refusals keep their class and values."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from caimi.chains.fabric import errors as f
from caimi.chains.fabric.board import FabricBoard
from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.port_errors import BrokenLedger, port_error, read_refusal
from caimi.chains.fabric.registry import FabricRegistry
from caimi.chains.fabric.transaction import Committed, EndorsedTransaction, Invalid, PreparedTransaction
from caimi.ports.call_errors import CallRejected, CallTooLarge
from caimi.ports.chain import (
    ChainUnavailable,
    Included,
    NotIncluded,
    PreparedCall,
    Reverted,
    StatusUnknown,
)
from caimi.types.errors import CaimiError, ClockSkew, NotHome, Refusal, SmallDeposit, WrongRegistry
from caimi.types.records import Lane
from caimi.types.refusals import BY_NAME
from caimi.wire.chain_ids import fabric_registry
from caimi.wire.keccak import keccak256

_WORD = keccak256(b"word")
_LANE = Lane(chain=_WORD, registry=fabric_registry("channel", "caimi"))
_PREPARED = PreparedCall(transaction="ab" * 32, raw=b"envelope", slot=None)


def _made(kind: type[f.FabricError]) -> f.FabricError:
    if issubclass(kind, f.ChaincodeRefusal):
        return kind("NotHome", "")
    if issubclass(kind, f.CommitError):
        return kind("ab", 7, f.ValidationCode.MVCC_READ_CONFLICT)
    if issubclass(kind, (f.EvaluateError, f.EndorseError, f.SubmitError, f.OutcomeUnknown)):
        return kind("UNAVAILABLE", "words")
    return kind("words")


_EXPECTED: dict[type[f.FabricError], type[CaimiError]] = {
    f.FabricError: CallRejected,
    f.FabricIdentityError: CallRejected,
    f.ChaincodeRefusal: NotHome,
    f.ProposalTimeRefused: ClockSkew,
    f.EvaluateError: CallRejected,
    f.EvaluateUnavailable: ChainUnavailable,
    f.EndorseError: CallRejected,
    f.EndorseUnavailable: ChainUnavailable,
    f.PeersApart: ChainUnavailable,
    f.SubmitError: CallRejected,
    f.SubmitUnavailable: ChainUnavailable,
    f.OutcomeUnknown: ChainUnavailable,
    f.SubmitOutcomeUnknown: ChainUnavailable,
    f.CommitStatusError: ChainUnavailable,
    f.CommitError: CallRejected,
    f.CommitConflict: ChainUnavailable,
    f.MalformedBlock: BrokenLedger,
    f.BrokenBlockChain: BrokenLedger,
    f.DeliverRefused: BrokenLedger,
    f.ParticipationError: ChainUnavailable,
    f.LifecycleError: CallRejected,
    f.LifecycleTimeout: ChainUnavailable,
}


def test_no_error_of_the_client_is_forgotten() -> None:
    named = vars(f).values()
    ours = {c for c in named if inspect.isclass(c) and issubclass(c, f.FabricError) and not c.__name__.startswith("_")}
    assert ours <= set(_EXPECTED)


@pytest.mark.parametrize(("kind", "expected"), _EXPECTED.items(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_client_becomes_ours(kind: type[f.FabricError], expected: type[CaimiError]) -> None:
    assert type(port_error(_made(kind))) is expected


def test_message_that_is_too_large_says_so() -> None:
    error = f.EndorseError("RESOURCE_EXHAUSTED", "grpc: received message larger than max (9 vs. 4)")
    assert isinstance(port_error(error), CallTooLarge)


_SHOWN = {"address": "0x" + "11" * 20, "bytes32": "0x" + "22" * 32}


@pytest.mark.parametrize("refusal", BY_NAME.values(), ids=BY_NAME)
def test_every_refusal_of_the_table_is_read_with_its_values(refusal: type[Refusal]) -> None:
    shown = [_SHOWN.get(argument.split(" ")[0], "7") for argument in refusal.arguments]
    read = read_refusal(refusal.__name__, ", ".join(shown))
    assert isinstance(read, refusal)
    assert read.values == tuple(bytes.fromhex(s[2:]) if s.startswith("0x") else 7 for s in shown)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("NoSuchRefusal", "1, 2"),
        ("SmallDeposit", ""),
        ("SmallDeposit", "1"),
        ("SmallDeposit", "1, 2, 3"),
        ("SmallDeposit", "01, 2"),
        ("SmallDeposit", "-1, 2"),
        ("SmallDeposit", "0x01, 2"),
        ("SmallDeposit", "1, " + "9" * 5_000),
        ("NotHome", "1"),
        ("UnknownPublication", "abcd"),
        ("UnknownPublication", "0xABCD"),
        ("UnknownPublication", "0xabc"),
    ],
)
def test_other_words_of_the_chaincode_are_no_refusal(name: str, text: str) -> None:
    read = read_refusal(name, text)
    assert isinstance(read, CallRejected)
    assert name in str(read)


# --- the adapter over a gateway that fails


class _Gateway:
    """Fails or answers as a test says."""

    def __init__(self, *outcomes: Any) -> None:
        self.channel = "channel"
        self.transport: Any = _Transport()
        self.identity: Any = None
        self.outcomes = list(outcomes) or [None]
        self.sent: list[tuple[bytes, dict[str, bytes], tuple[str, ...]]] = []
        self.read: list[int] = []

    def _end(self) -> Any:
        # The last one stays.
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def evaluate(self, *_: Any) -> Any:
        return self._end()

    async def endorse(self, prepared: PreparedTransaction) -> EndorsedTransaction:
        self._end()
        return EndorsedTransaction(tx_id=prepared.tx_id, channel="channel", envelope=b"envelope", result=b"")

    async def submit(self, endorsed: EndorsedTransaction) -> None:
        assert (endorsed.tx_id, endorsed.envelope) == (_PREPARED.transaction, _PREPARED.raw)
        self._end()

    async def commit_status(self, tx_id: str, *, timeout_s: float) -> Any:
        assert timeout_s == 0.5
        return self._end()

    def prepare(self, chaincode: str, function: str, arguments: Any, transient: Any = None) -> PreparedTransaction:
        assert (chaincode, function) == ("caimi", "call")
        self.sent.append((arguments[0], dict(transient or {}), ()))
        return PreparedTransaction(
            tx_id="cd" * 32, channel="channel", chaincode=chaincode, proposal=b"", timestamp_ns=0
        )

    async def send(self, prepared: PreparedTransaction) -> Any:
        return self._end()


class _Transport:
    def stream_stream(self, *_: Any, **__: Any) -> None:
        return None


def _registry(gateway: _Gateway, *, apart_seconds: float = 0.25) -> FabricRegistry:
    made = FabricRegistry(cast("FabricGateway", gateway), lane=_LANE, chaincode="caimi", apart_seconds=apart_seconds)

    async def is_right() -> None:
        return None

    async def is_read(height: int) -> None:
        gateway.read.append(height)

    made.index.verify_chain = is_right  # type: ignore[method-assign]
    made.index.reach = is_read  # type: ignore[method-assign]
    return made


def _run(outcome: object, act: Callable[[FabricRegistry], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        return await act(_registry(_Gateway(outcome)))

    return asyncio.run(whole())


_ACTS: dict[str, Callable[[FabricRegistry], Awaitable[Any]]] = {
    "view": lambda port: port.balance(cast("Any", bytes(20))),
    "prepare": lambda port: port.prepare(b"call", slot=None),
    "send": lambda port: port.send(_PREPARED),
}


@pytest.mark.parametrize("act", _ACTS.values(), ids=_ACTS)
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (f.ChaincodeRefusal("SmallDeposit", "10, 9"), SmallDeposit),
        (f.EndorseUnavailable("UNAVAILABLE", "x"), ChainUnavailable),
        (f.SubmitOutcomeUnknown("UNAVAILABLE", "x"), ChainUnavailable),
        (f.EndorseError("ABORTED", "x"), CallRejected),
    ],
)
def test_failures_are_typed(
    act: Callable[[FabricRegistry], Awaitable[Any]], error: f.FabricError, expected: type[CaimiError]
) -> None:
    with pytest.raises(expected):
        _run(error, act)


def _prepare(gateway: _Gateway) -> Any:
    async def whole() -> Any:
        return await _registry(gateway, apart_seconds=0.0).prepare(b"call", slot=None)

    return asyncio.run(whole())


def test_peers_that_lag_behind_ours_are_waited_for() -> None:
    apart = f.PeersApart("ABORTED", "LowBalance")
    assert _prepare(_Gateway(apart, apart, None)).raw == b"envelope"


def test_peers_that_stay_apart_make_the_ledger_unavailable() -> None:
    with pytest.raises(ChainUnavailable, match="LowBalance"):
        _prepare(_Gateway(f.PeersApart("ABORTED", "LowBalance")))


@pytest.mark.parametrize("answer", [b"", bytes(31), bytes(33), b"\xff" * 32])
def test_rejects_views_that_are_not_canonical(answer: bytes) -> None:
    with pytest.raises(BrokenLedger):
        _run(answer, _ACTS["view"])


_STATUSES: dict[str, tuple[object, object]] = {
    "valid": (Committed(tx_id="x", block_number=7), Included(height=7, final=True)),
    "conflict": (
        Invalid(tx_id="x", block_number=7, code=f.ValidationCode.MVCC_READ_CONFLICT),
        Reverted(cause="MVCC_READ_CONFLICT", final=True),
    ),
    "phantom": (
        Invalid(tx_id="x", block_number=7, code=f.ValidationCode.PHANTOM_READ_CONFLICT),
        Reverted(cause="PHANTOM_READ_CONFLICT", final=True),
    ),
    "not yet": (f.CommitStatusError("DEADLINE_EXCEEDED", "x"), NotIncluded()),
}


@pytest.mark.parametrize(("outcome", "expected"), _STATUSES.values(), ids=_STATUSES)
def test_status_is_what_the_peer_found(outcome: object, expected: object) -> None:
    assert _run(outcome, lambda port: port.status(_PREPARED)) == expected


@pytest.mark.parametrize(
    "outcome",
    [
        f.CommitStatusError("UNAVAILABLE", "x"),
        Invalid(tx_id="x", block_number=7, code=f.ValidationCode.DUPLICATE_TXID),
    ],
)
def test_status_is_unknown_when_the_peer_cannot_say(outcome: object) -> None:
    assert isinstance(_run(outcome, lambda port: port.status(_PREPARED)), StatusUnknown)


def test_what_is_included_was_also_read() -> None:
    gateway = _Gateway(Committed(tx_id="x", block_number=7))
    asyncio.run(_registry(gateway).status(_PREPARED))
    assert gateway.read == [7]


def test_rejects_a_lane_of_another_chaincode() -> None:
    with pytest.raises(WrongRegistry):
        FabricRegistry(cast("FabricGateway", _Gateway()), lane=_LANE, chaincode="other")


# --- the board


def _post(*outcomes: Any) -> _Gateway:
    gateway = _Gateway(*outcomes)

    async def whole() -> None:
        board = FabricBoard(cast("FabricGateway", gateway), _registry(gateway), chaincode="caimi")
        await board.post_partial(b"call", b"sealed")

    asyncio.run(whole())
    return gateway


def test_partial_goes_as_transient_value_and_no_organisation_is_named() -> None:
    gateway = _post(Committed(tx_id="x", block_number=7))
    assert gateway.sent == [(b"call", {"partial": b"sealed"}, ())]


def test_post_that_meets_a_conflict_is_made_again() -> None:
    conflict = f.CommitConflict("x", 7, f.ValidationCode.MVCC_READ_CONFLICT)
    assert len(_post(conflict, conflict, Committed(tx_id="x", block_number=7)).sent) == 3


def test_post_gives_up_after_some_conflicts() -> None:
    with pytest.raises(ChainUnavailable):
        _post(f.CommitConflict("x", 7, f.ValidationCode.MVCC_READ_CONFLICT))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (f.ChaincodeRefusal("NotHome", ""), NotHome),
        (f.CommitStatusError("DEADLINE_EXCEEDED", "x"), ChainUnavailable),
        (f.CommitError("x", 7, f.ValidationCode.ENDORSEMENT_POLICY_FAILURE), CallRejected),
    ],
)
def test_post_that_fails_is_typed(error: f.FabricError, expected: type[CaimiError]) -> None:
    with pytest.raises(expected):
        _post(error)
