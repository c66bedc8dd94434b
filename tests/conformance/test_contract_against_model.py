"""The compiled contract on a real node and the reference model answer the same random calls in the same way."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from caimi.crypto.ecdsa import SigningKey
from caimi.ports.registry_views import VIEWS, encode_view
from caimi.protocol.calls import run_call
from caimi.protocol.publication import AbortReason, State
from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import RegistryConfig
from caimi.types.errors import BY_CODE, BadEncoding, BatchItem, Paused, Refusal, WrongSigner
from caimi.types.primitives import ZERO32, PublicationId, UnixSeconds
from caimi.types.records import Lane
from caimi.wire.codec import encode_values
from caimi.wire.functions import encode_call, selector
from caimi.wire.keccak import keccak256
from tests.conformance.batch_traffic import BATCHES, seen_in, shown_batch
from tests.conformance.epoch_traffic import EPOCHS, EpochTraffic
from tests.conformance.evm_driver import CLOCK_WINDOW, MIN_DEPOSIT, Anvil, RegistryOnAnvil, started_anvil
from tests.conformance.order_traffic import BRAKES, LIMITS, PHANTOM
from tests.conformance.registry_world import GENESIS, OPENING, OTHERS, PEOPLE, STRANGER

pytestmark = pytest.mark.devnet

_CALLS = 400
_COMMON = {
    *("", "BadEncoding", "BadSignature", "HighS", "UnknownPublication", "WrongRegistry", "WrongSigner", "NotHome"),
    *("note 1 0", "note 2 0", "note 3 430", "note 4 0"),  # applied, pending, WrongAuthority, ignored
    *BATCHES,
    *BRAKES,
    *(f"state {s.name}" for s in State if s is not State.NONE),
}
"""Answers that the seeds together have to meet, so that the test cannot become empty."""
_RECORD = ("uint8", "uint8", "address", "string", "uint64", "Lane", "Lane[]", "uint128", "uint64", "uint8", "uint8")


@pytest.fixture(scope="module")
def anvil() -> Generator[Anvil]:
    with started_anvil() as node:
        yield node


def traffic_of(own: Lane) -> Any:
    """The module that makes random calls, in a copy of its own whose registry is `own`."""
    path = Path(__file__).with_name("registry_traffic.py")
    spec = importlib.util.spec_from_file_location(f"traffic_{own.registry.hex()}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.OWN = own  # pyright: ignore[reportAttributeAccessIssue]
    return module


def raw(refusal: Refusal) -> bytes:
    """What a contract reverts with."""
    kinds = tuple(a.split(" ")[0] for a in refusal.arguments)
    selector = keccak256(f"{type(refusal).__name__}({','.join(kinds)})".encode())[:4]
    return selector + encode_values(kinds, refusal.values)


class Pair:
    """Model and contract side by side."""

    def __init__(self, anvil: Anvil, seed: int) -> None:
        root = None if seed % 2 else OTHERS[0]
        nowhere = Lane(chain=ZERO32, registry=ZERO32)
        self.ledger = RegistryOnAnvil(anvil, GENESIS, limits=LIMITS, root=root or nowhere)
        own = self.ledger.lane
        self.traffic = traffic_of(own).Traffic(seed, root=root)
        # Blocks of one chain have rising times, also from seed to seed.
        self.traffic.now = max(
            self.traffic.now, int(anvil.ask("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        )
        config = RegistryConfig(
            lane=own,
            genesis=GENESIS,
            min_deposit=MIN_DEPOSIT,
            clock_window=CLOCK_WINDOW,
            limits=LIMITS,
            root=root,
        )
        self.model = Registry.create(config)
        self.seen: Counter[str] = Counter()
        assert self.ledger.view("network", (), (), ("bytes32",)) == self.model.network
        assert self.ledger.view("lane", (), (), ("Lane",)) == own
        for person in PEOPLE:
            self.fund(person, OPENING)

    def next(self) -> bytes:
        """A call that this ledger has: money comes in by permits here."""
        self.traffic.now += 1
        while True:
            data = self.traffic.next()
            if selector("fund") not in data:
                return data

    def fund(self, person: SigningKey, amount: int) -> None:
        """Mint, then a permit by the wrong account, by the right one, and the same again."""
        deadline, paused = self.traffic.now + 9, self.model.state.brakes.paused
        self.ledger.mint(person.address, amount)
        digest = self.ledger.permit_digest(person.address, amount, deadline)
        for signer in (STRANGER, person, person):
            signature = signer.sign(digest)
            parts = (person.address, amount, deadline, signature.v, signature.r, signature.s)
            self.traffic.now += 1
            outcome = self.ledger.call(encode_call("fundWithPermit", *parts), now=self.traffic.now)
            lawful = raw(Paused()) if paused else b""
            expected = lawful if signer is person else raw(WrongSigner(person.address, signer.address))
            assert outcome.refusal == expected and not outcome.items
        if paused:
            tokens = self.model.state.tokens
            tokens[person.address] = tokens.get(person.address, 0) + amount
        else:
            self.model.state.credit(person.address, amount)

    def same(self, data: bytes) -> None:
        """One call on both."""
        state, now = self.model.state, UnixSeconds(self.traffic.now)
        events, notes, batches = len(state.events), len(state.applied), len(state.batch_ids)
        expected, name = b"", ""
        refused: Refusal | None = None
        try:
            run_call(self.model, data, now=now)
        except BadEncoding:
            # The ABI decoder of a contract tolerates another layout of calldata, which no digest sees, and refuses the
            # rest without a name; so such a call is not sent.
            self.seen["BadEncoding"] += 1
            self.seen["tolerated"] += self.ledger.accepts(data)
            return
        except Refusal as refusal:
            expected, name, refused = raw(refusal), type(refusal).__name__, refusal
        state = self.model.state
        self.traffic.held = {i: p.state for i, p in state.publications.items()}
        self.traffic.batches.records = state.batches
        self.traffic.orders.brakes, self.traffic.orders.governed = state.brakes, state.governed
        self.seen[name] += 1
        if isinstance(refused, BatchItem):
            self.seen["item " + BY_CODE[refused.values[1]].__name__] += 1
        self.seen.update(f"note {n.disposition} {n.code}" for n in state.applied[notes:])
        outcome = self.ledger.call(data, now=now)
        assert (outcome.ok, outcome.refusal.hex()) == (not expected, expected.hex()), (name, data.hex())
        assert list(outcome.items) == state.events[events:]
        assert list(outcome.notes) == state.applied[notes:]
        assert list(outcome.batches) == list(state.batch_ids.items())[batches:]

    def compare(self) -> None:
        """Everything that views show."""
        state, traffic, view = self.model.state, self.traffic, self.ledger.view
        assert view("eventCount", (), (), ("uint64",)) == len(state.events)
        for identifier in traffic.publications:
            record = state.publications.get(identifier)
            revoked = view("isRevoked", ("bytes32",), (identifier,), ("bool",))
            assert revoked == (record is not None and record.revoked)
            assert view("publication", ("bytes32",), (identifier,), _RECORD) == self.record(identifier)
        self.compare_batches()
        for person in (*PEOPLE, STRANGER):
            for name, amounts in (("balance", state.balances), ("tokens", state.tokens)):
                actual = view(name, ("address",), (person.address,), ("uint128",))
                assert actual == amounts.get(person.address, 0)
        for request in (*traffic.requests, *state.carried_receipts):
            own = state.requests[request].receipt_hash if request in state.requests else ZERO32
            receipt = own if own != ZERO32 else state.carried_receipts.get(request, ZERO32)
            assert view("receiptOf", ("bytes32",), (request,), ("bytes32",)) == receipt
        brakes = (state.brakes.paused, state.brakes.counter, state.brakes.since)
        limits = (LIMITS.resume_delay, LIMITS.withdrawal_cap, state.withdrawn.get(state.epoch, 0))
        assert view("brakes", (), (), VIEWS["brakes"][1]) == (*brakes, *limits)
        for lane in (*OTHERS, PHANTOM, self.model.lane):
            last = state.governance_of(lane)
            governed = (last.version, last.generation, last.height, last.block_hash, last.dropped)
            assert view("governed", ("Lane",), (lane,), VIEWS["governed"][1]) == governed
        for lane in OTHERS:
            for generation in range(1, state.governance_of(lane).generation + 1):
                for sequence in range(traffic.lengths[lane] + 2):
                    key = (lane, generation, sequence)
                    assert view("isMarked", ("Lane", "uint64", "uint64"), key, ("bool",)) == (key in state.marks)

    def compare_batches(self) -> None:
        """Records of batches, and what is known of each publication by its proof."""
        state, ledger = self.model.state, self.ledger
        for batch in self.traffic.batches.gathered.values():
            for home in {batch.home, self.model.lane}:
                expected = shown_batch(state.batches.get((home, batch.root)))
                assert ledger.view("batch", VIEWS["batch"][0], (home, batch.root), VIEWS["batch"][1]) == expected
            for index, identifier in enumerate(batch.identifiers):
                proof = batch.proof(index)
                try:
                    known = self.model.state_in(identifier, proof)
                except Refusal:
                    assert not ledger.accepts(encode_view("stateIn", identifier, proof))
                else:
                    assert ledger.view("stateIn", VIEWS["stateIn"][0], (identifier, proof), ("uint8", "uint8")) == known

    def compare_epochs(self) -> None:
        """Who counts, and who said to have entered."""
        epochs, acknowledged, view = self.model.state.epochs, self.model.state.acknowledged, self.ledger.view
        present = epochs.present
        before = 0 if epochs.before is None else epochs.before.epoch
        announced = (0, ZERO32) if epochs.announced is None else (epochs.announced.epoch, epochs.announced.set_hash)
        expected = (before, present.set_hash, present.transcript, *announced)
        assert view("epochs", (), (), VIEWS["epochs"][1]) == expected
        for epoch in range(present.epoch + 2):
            counts = next((s for s in (present, epochs.before) if s is not None and s.epoch == epoch), None)
            known = None if counts is None else counts.validators
            wanted = (0, 0, 0, ()) if known is None else (epoch, known.f, known.t, known.validators)
            assert view("validatorSetOf", ("uint64",), (epoch,), VIEWS["validatorSetOf"][1]) == wanted
        for lane in OTHERS:
            assert view("acknowledged", ("Lane",), (lane,), ("uint64",)) == acknowledged.get(lane, 0)

    def record(self, identifier: PublicationId) -> tuple[Any, ...]:
        nowhere = Lane(chain=ZERO32, registry=ZERO32)
        p = self.model.state.publications.get(identifier)
        if p is None:
            return (0, State.NONE, bytes(20), "", 0, nowhere, (), 0, 0, 0, AbortReason.NONE)
        of_record = (p.role, p.state, p.publisher, p.name, p.version, p.home, p.mirrors)
        return (*of_record, p.deposit, p.deadline, p.awaited, p.reason)


def play(anvil: Anvil, seed: int, calls: int) -> Counter[str]:
    pair = Pair(anvil, seed)
    for number in range(calls):
        if number % 25 == 0:
            pair.fund(pair.traffic.rng.choice(PEOPLE), 500)
        pair.same(pair.next())
    pair.compare()
    pair.seen.update(seen_in(pair.model.state))
    return pair.seen


def test_random_calls_agree(anvil: Anvil) -> None:
    seen: Counter[str] = Counter()
    for seed in range(3):
        seen += play(anvil, seed, _CALLS)
    assert seen[""] > 3 * _CALLS / 4, "most calls of the traffic are refused"
    assert set(seen) >= _COMMON, f"the traffic no longer reaches {_COMMON - set(seen)}"


def play_epochs(anvil: Anvil, seed: int, calls: int) -> Counter[str]:
    """Changes of the set, and now and then what registries do besides."""
    pair = Pair(anvil, seed)
    pair.ledger.attach_epochs()
    epochs, root = pair.model.state.epochs, pair.model.state.root()
    changes = EpochTraffic(rng=pair.traffic.rng, own=pair.model.lane, root=root, epochs=epochs)
    for number in range(calls):
        marks, done = len(pair.model.state.marks), pair.seen[""]
        other = pair.next()
        call = other if number % 5 == 4 else changes.next()
        pair.same(call)
        state = pair.model.state
        is_run = call[:4] == selector("applyRun")
        pair.seen["passed over"] += is_run and pair.seen[""] > done and len(state.marks) == marks
        pair.seen["two sets"] += state.epochs.before is not None
        pair.seen["epoch 3"] += state.epoch >= 3
        changes.epochs = state.epochs
        if number % 50 == 49:
            pair.compare_epochs()
    pair.compare()
    pair.compare_epochs()
    return pair.seen


def test_random_changes_of_the_set_agree(anvil: Anvil) -> None:
    seen: Counter[str] = Counter()
    # Together they meet everything of EPOCHS, the rarest of it in one of thousands of calls.
    for seed in (5, 6, 7, 9):
        seen += play_epochs(anvil, seed, _CALLS)
    assert set(seen) >= EPOCHS, f"the traffic no longer reaches {EPOCHS - set(seen)}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 106))
def test_many_random_calls_agree(anvil: Anvil, seed: int) -> None:
    play(anvil, seed, 1200)
