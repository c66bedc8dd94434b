"""The chaincode and the reference model answer the same random calls in the same way: refusals, events, state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from caimi.crypto.ecdsa import SigningKey
from caimi.ports.registry_views import VIEWS, encode_view, read_state_in
from caimi.protocol.calls import run_call
from caimi.protocol.publication import AbortReason, State
from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import RegistryConfig
from caimi.types.errors import BY_CODE, Refusal
from caimi.types.primitives import ZERO32, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import Event, Lane
from caimi.wire.functions import encode_call, selector
from tests.conformance.batch_traffic import BATCHES, seen_in, shown_batch
from tests.conformance.chaincode_driver import Driver, build_driver
from tests.conformance.epoch_traffic import EPOCHS, EpochTraffic
from tests.conformance.order_traffic import BRAKES, LIMITS, PHANTOM
from tests.conformance.registry_traffic import Traffic
from tests.conformance.registry_world import GENESIS, ISSUER, OPENING, OTHERS, OWN, PEOPLE, STRANGER

_CALLS = 400
_NOTES = {"note 1 0", "note 2 0", "note 3 420", "note 3 430", "note 3 431", "note 3 432", "note 4 0"}
_STATES = {f"state {s.name}" for s in State if s is not State.NONE}
_CALLERS = {"", "BadEncoding", "BadSignature", "LowBalance", "UnknownPublication", "WrongRegistry"}
_COMMON = BATCHES | BRAKES | _CALLERS | _NOTES | _STATES
"""Answers and notes that the seeds together have to meet, so that the test cannot become empty."""
_RECORD = ("uint8", "uint8", "address", "string", "uint64", "Lane", "Lane[]", "uint128", "uint64", "uint8", "uint8")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.mktemp("drive"))


@pytest.fixture
def driver(program: Path) -> Generator[Driver]:
    started = Driver(program)
    yield started
    started.close()


def shown(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(int(value))


def message(refusal: Refusal) -> str:
    name = type(refusal).__name__
    return name + (": " + ", ".join(shown(v) for v in refusal.values) if refusal.values else "")


def unhex(text: str) -> Bytes32:
    return Bytes32(bytes.fromhex(text[2:]))


def parsed_event(note: dict[str, Any]) -> Event:
    assert list(note) == ["schema", "kind", "destinations", "subject", "body"]
    return Event(
        schema=note["schema"],
        kind=note["kind"],
        destinations=tuple(Lane(chain=unhex(c), registry=unhex(r)) for c, r in note["destinations"]),
        subject=unhex(note["subject"]),
        body=unhex(note["body"]),
    )


class Pair:
    """Model and chaincode side by side."""

    def __init__(self, driver: Driver, seed: int) -> None:
        root = None if seed % 2 else OTHERS[0]
        self.driver, self.traffic = driver, Traffic(seed, root=root)
        config = RegistryConfig(lane=OWN, genesis=GENESIS, min_deposit=100, clock_window=30, limits=LIMITS, root=root)
        self.model = Registry.create(config)
        now = self.traffic.now
        driver.create(config, issuer=ISSUER.address, now=now)
        self.seen: Counter[str] = Counter()
        for person in PEOPLE:
            self.mint(person, OPENING)
        for call in self.traffic.opening():
            self.same(call)

    def mint(self, person: SigningKey, amount: int) -> None:
        """The model has no token ledger of its own: it is told what the issuer's word is worth."""
        mint, signature = self.traffic.mint(person, amount)
        reply = self.driver.send("call", encode_call("mint", mint, signature), now=self.traffic.now)
        assert reply.ok, reply.message
        tokens = self.model.state.tokens
        tokens[mint.account] = tokens.get(mint.account, 0) + mint.amount

    def same(self, data: bytes) -> None:
        """One call on both."""
        state, now = self.model.state, UnixSeconds(self.traffic.now)
        events, notes, batches = len(state.events), len(state.applied), len(state.batch_ids)
        try:
            run_call(self.model, data, now=now)
        except Refusal as refusal:
            expected = message(refusal)
        else:
            expected = ""
        state = self.model.state
        self.traffic.held = {i: p.state for i, p in state.publications.items()}
        self.traffic.batches.records = state.batches
        self.traffic.orders.brakes, self.traffic.orders.governed = state.brakes, state.governed
        self.seen[expected.split(":")[0]] += 1
        if expected.startswith("BatchItem"):
            self.seen["item " + BY_CODE[int(expected.split(",")[1])].__name__] += 1
        self.seen.update(f"note {n.disposition} {n.code}" for n in state.applied[notes:])
        reply = self.driver.send("call", data, now=now)
        assert (reply.ok, reply.message) == (not expected, expected), data.hex()
        assert [parsed_event(e) for e in reply.event.get("events", [])] == [i.event for i in state.events[events:]]
        applied = [
            {
                "chain": shown(n.source.chain),
                "registry": shown(n.source.registry),
                "sequence": n.sequence,
                "disposition": int(n.disposition),
                "code": n.code,
            }
            for n in state.applied[notes:]
        ]
        assert reply.event.get("applied", []) == applied
        logged = [(unhex(b["root"]), tuple(map(unhex, b["ids"]))) for b in reply.event.get("batches", [])]
        assert logged == list(state.batch_ids.items())[batches:]
        assert all(reply.event.values()), "empty lists are left out"

    def compare(self) -> None:
        """Everything that views show."""
        state, traffic = self.model.state, self.traffic
        for identifier in traffic.publications:
            record = state.publications.get(identifier)
            revoked = self.read("isRevoked", ("bytes32",), (identifier,), ("bool",))
            assert revoked == (record is not None and record.revoked)
            assert self.read("publication", ("bytes32",), (identifier,), _RECORD) == self.record(identifier)
        self.compare_batches()
        for person in (*PEOPLE, STRANGER):
            for view, amounts in (("balance", state.balances), ("tokens", state.tokens)):
                actual = self.read(view, ("address",), (person.address,), ("uint128",))
                assert actual == amounts.get(person.address, 0)
        for request in (*traffic.requests, *state.carried_receipts):
            own = state.requests[request].receipt_hash if request in state.requests else ZERO32
            receipt = own if own != ZERO32 else state.carried_receipts.get(request, ZERO32)
            assert self.read("receiptOf", ("bytes32",), (request,), ("bytes32",)) == receipt
        brakes = (state.brakes.paused, state.brakes.counter, state.brakes.since)
        limits = (LIMITS.resume_delay, LIMITS.withdrawal_cap, state.withdrawn.get(state.epoch, 0))
        assert self.read("brakes", (), (), VIEWS["brakes"][1]) == (*brakes, *limits)
        for lane in (*OTHERS, PHANTOM, self.model.lane):
            last = state.governance_of(lane)
            governed = (last.version, last.generation, last.height, last.block_hash, last.dropped)
            assert self.read("governed", ("Lane",), (lane,), VIEWS["governed"][1]) == governed
        for lane in OTHERS:
            for generation in range(1, state.governance_of(lane).generation + 1):
                for sequence in range(traffic.lengths[lane] + 2):
                    key = (lane, generation, sequence)
                    assert self.read("isMarked", ("Lane", "uint64", "uint64"), key, ("bool",)) == (key in state.marks)

    def compare_batches(self) -> None:
        """Records of batches, and what is known of each publication by its proof."""
        state = self.model.state
        for batch in self.traffic.batches.gathered.values():
            for home in {batch.home, OWN}:
                expected = shown_batch(state.batches.get((home, batch.root)))
                assert self.read("batch", *VIEWS["batch"][:1], (home, batch.root), VIEWS["batch"][1]) == expected
            for index, identifier in enumerate(batch.identifiers):
                proof = batch.proof(index)
                call = encode_view("stateIn", identifier, proof)
                reply = self.driver.send("view", call, now=self.traffic.now)
                try:
                    known = self.model.state_in(identifier, proof)
                except Refusal as refusal:
                    assert reply.message == message(refusal)
                else:
                    assert reply.ok and read_state_in(reply.payload) == known

    def compare_epochs(self) -> None:
        """Who counts, and who said to have entered."""
        epochs, acknowledged = self.model.state.epochs, self.model.state.acknowledged
        present = epochs.present
        before = 0 if epochs.before is None else epochs.before.epoch
        announced = (0, ZERO32) if epochs.announced is None else (epochs.announced.epoch, epochs.announced.set_hash)
        expected = (before, present.set_hash, present.transcript, *announced)
        assert self.read("epochs", (), (), VIEWS["epochs"][1]) == expected
        for epoch in range(present.epoch + 2):
            shown_set = self.read("validatorSetOf", ("uint64",), (epoch,), VIEWS["validatorSetOf"][1])
            counts = next((s for s in (present, epochs.before) if s is not None and s.epoch == epoch), None)
            if counts is None:
                assert shown_set == (0, 0, 0, ())
            else:
                known = counts.validators
                assert shown_set == (epoch, known.f, known.t, known.validators)
        for lane in OTHERS:
            assert self.read("acknowledged", ("Lane",), (lane,), ("uint64",)) == acknowledged.get(lane, 0)

    def read(self, view: str, kinds: tuple[str, ...], values: tuple[Any, ...], answer: tuple[str, ...]) -> Any:
        return self.driver.view(view, kinds, values, answer, now=self.traffic.now)

    def record(self, identifier: PublicationId) -> tuple[Any, ...]:
        nowhere = Lane(chain=ZERO32, registry=ZERO32)
        p = self.model.state.publications.get(identifier)
        if p is None:
            return (0, State.NONE, bytes(20), "", 0, nowhere, (), 0, 0, 0, AbortReason.NONE)
        of_record = (p.role, p.state, p.publisher, p.name, p.version, p.home, p.mirrors)
        return (*of_record, p.deposit, p.deadline, p.awaited, p.reason)


def play(driver: Driver, seed: int, calls: int, *, check_every: int = 100) -> Counter[str]:
    pair = Pair(driver, seed)
    for number in range(calls):
        if number % 10 == 0:
            pair.mint(pair.traffic.rng.choice(PEOPLE), 500)
        pair.same(pair.traffic.next())
        if number % check_every == check_every - 1:
            pair.compare()
    pair.compare()
    pair.seen.update(seen_in(pair.model.state))
    return pair.seen


def play_epochs(driver: Driver, seed: int, calls: int) -> Counter[str]:
    """Changes of the set, and now and then what registries do besides."""
    pair = Pair(driver, seed)
    own = pair.model.lane
    changes = EpochTraffic(rng=pair.traffic.rng, own=own, root=pair.model.state.root(), epochs=pair.model.state.epochs)
    for number in range(calls):
        marks, notes = len(pair.model.state.marks), pair.seen[""]
        call = pair.traffic.next() if number % 5 == 4 else changes.next()
        pair.same(call)
        state = pair.model.state
        is_run = call[:4] == selector("applyRun")
        pair.seen["passed over"] += is_run and pair.seen[""] > notes and len(state.marks) == marks
        pair.seen["two sets"] += state.epochs.before is not None
        pair.seen["epoch 3"] += state.epoch >= 3
        changes.epochs = state.epochs
        if number % 50 == 49:
            pair.compare_epochs()
    pair.compare()
    pair.compare_epochs()
    return pair.seen


def test_random_changes_of_the_set_agree(program: Path) -> None:
    seen: Counter[str] = Counter()
    for seed in range(4):
        driver = Driver(program)
        seen += play_epochs(driver, seed, _CALLS)
        driver.close()
    assert set(seen) >= EPOCHS, f"the traffic no longer reaches {EPOCHS - set(seen)}"


def test_random_calls_agree(program: Path) -> None:
    seen: Counter[str] = Counter()
    for seed in range(4):
        driver = Driver(program)
        seen += play(driver, seed, _CALLS)
        driver.close()
    assert seen[""] > 4 * _CALLS / 4, "most calls of the traffic are refused"
    assert set(seen) >= _COMMON, f"the traffic no longer reaches {_COMMON - set(seen)}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_random_calls_agree(driver: Driver, seed: int) -> None:
    play(driver, seed, 1500, check_every=500)
