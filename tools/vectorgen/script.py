"""A scenario of suite registry being written: calls on the reference model, and what it answers to each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from caimi.protocol.calls import run_call
from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import Limits, RegistryConfig
from caimi.types.errors import Refusal
from caimi.types.primitives import ZERO32, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import BatchProof, Event, Kind, Lane, Publication
from caimi.wire.codec import Record, encode, encode_values
from caimi.wire.digests import leaf_hash, publication_id, typed_digest
from caimi.wire.functions import encode_body, encode_call
from caimi.wire.merkle import merkle_multiproof
from vectorgen import fixtures as fx
from vectorgen.fixtures import Key, certify, hexed

__all__ = ["DEADLINE", "NOW", "NOWHERE", "Script", "refusal_fields"]

NOW = 1_800_000_000
DEADLINE = UnixSeconds(NOW + 600)
NOWHERE = Lane(chain=ZERO32, registry=ZERO32)
"""As a root: the registry itself."""


def refusal_fields(refusal: Refusal) -> dict[str, Any]:
    """How a case names what it is refused with."""
    kinds = tuple(a.split(" ")[0] for a in refusal.arguments)
    arguments = hexed(encode_values(kinds, refusal.values))
    return {"error": type(refusal).__name__, "place": "call", "arguments": arguments}


@dataclass
class Script:
    """One scenario being written."""

    case: int
    comment: str
    own: Lane
    other: Lane
    window: int = 30
    now: int = NOW
    steps: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    looks: list[tuple[PublicationId, BatchProof]] = field(default_factory=list[tuple[PublicationId, BatchProof]])

    def __post_init__(self) -> None:
        self.configure()

    def configure(self, *, limits: Limits | None = None, root: Lane | None = None) -> None:
        """Create the registry anew, before the first call: without caps and as its own root unless told otherwise."""
        self.steps.clear()
        config = RegistryConfig(
            lane=self.own,
            genesis=fx.GENESIS,
            min_deposit=100,
            clock_window=self.window,
            limits=limits or Limits(),
            root=root,
        )
        self.registry = Registry.create(config)
        self.registry.state.balances[fx.PUBLISHER.address] = 1_000

    def order(self, name: str, record: Record, signers: tuple[int, ...]) -> None:
        """A call with the signatures of these validators, in this order."""
        digest = typed_digest(fx.NETWORK, record)
        self.do(name, record, tuple(fx.VALIDATORS[n].sign_as(n, digest) for n in signers))

    def do(self, name: str, *arguments: Any) -> None:
        """One call; what the model answers is what every ledger must answer."""
        self.send(name, encode_call(name, *arguments))

    def send(self, name: str, data: bytes) -> None:
        """The bytes of one call, which may be none; `name` is what the step is called."""
        step: dict[str, Any] = {"now": self.now, "function": name, "call": hexed(data)}
        try:
            run_call(self.registry, data, now=UnixSeconds(self.now))
        except Refusal as refusal:
            step |= refusal_fields(refusal)
        self.steps.append(step | {"events": len(self.registry.state.events)})

    def look(self, identifier: PublicationId, proof: BatchProof) -> None:
        """Ask, when the scenario has ended, what `stateIn` says."""
        self.looks.append((identifier, proof))

    def home(self, **changes: Any) -> Publication:
        """A publication whose home is this registry."""
        return fx.publication(self.own, (self.other,), deadline=DEADLINE, **changes)

    def mirror(self, **changes: Any) -> Publication:
        """A publication that this registry mirrors."""
        return fx.publication(self.other, (self.own,), deadline=DEADLINE, **changes)

    def lock(self, publication: Publication, key: Key = fx.PUBLISHER) -> PublicationId:
        """lockModel, signed."""
        identifier = publication_id(fx.NETWORK, publication)
        self.do("lockModel", publication, key.sign(identifier))
        return identifier

    def carry(self, *events: Event, first: int = 1, pick: tuple[int, ...] | None = None) -> None:
        """applyRun of events of the other lane, all of them or those at `pick`."""
        items = tuple(fx.item(first + i, e) for i, e in enumerate(events))
        chosen = range(len(items)) if pick is None else pick
        proof = merkle_multiproof([leaf_hash(self.other, i) for i in items], list(chosen))
        self.do("applyRun", certify(fx.checkpoint(self.other, items)), tuple(items[i] for i in chosen), proof)

    def answer(self, identifier: Bytes32, kind: Kind = Kind.LOCKED, home: Lane | None = None) -> Event:
        """The other lane's LOCKED or REFUSED of a publication."""
        body = encode_body(kind, 2 if kind is Kind.LOCKED else 404, home or self.own)
        return Event(schema=1, kind=kind, destinations=(self.own,), subject=identifier, body=body)

    def outcome(self, identifier: Bytes32, state: int, reason: int = 0) -> Event:
        """The other lane's OUTCOME as a home."""
        body = encode_body(Kind.OUTCOME, state, reason)
        return Event(schema=1, kind=Kind.OUTCOME, destinations=(self.own,), subject=identifier, body=body)

    def superseded(self, identifier: Bytes32, version: int) -> Event:
        """The other lane's SUPERSEDED as a home."""
        body = encode_body(Kind.SUPERSEDED, version)
        return Event(schema=1, kind=Kind.SUPERSEDED, destinations=(self.own,), subject=identifier, body=body)

    def written(self) -> dict[str, Any]:
        """The scenario with its final state."""
        state = self.registry.state
        limits = state.config.limits
        return {
            "tcId": self.case,
            "comment": self.comment,
            "config": {
                "genesis": hexed(encode(fx.GENESIS)),
                "lane": hexed(encode(self.own)),
                "minDeposit": "100",
                "clockWindow": self.window,
                "resumeDelay": limits.resume_delay,
                "withdrawalCap": str(limits.withdrawal_cap),
                "root": hexed(encode(self.registry.state.config.root or NOWHERE)),
            },
            "accounts": [
                {"secret": hexed(fx.PUBLISHER.secret), "address": hexed(fx.PUBLISHER.address), "balance": "1000"}
            ],
            "steps": self.steps,
            "publications": self._publications(),
            **self._batches(),
            **self._epochs(),
            "brakes": [state.brakes.paused, state.brakes.counter, state.brakes.since],
            "withdrawn": str(state.withdrawn.get(state.epoch, 0)),
            "governed": [
                {
                    "lane": hexed(encode(lane)),
                    "version": g.version,
                    "generation": g.generation,
                    "height": g.height,
                    "blockHash": hexed(g.block_hash),
                    "dropped": g.dropped,
                }
                for lane, g in state.governed.items()
            ],
            "leaves": [hexed(leaf_hash(self.own, i)) for i in state.events],
            "applied": [[int(a.sequence), int(a.disposition), a.code] for a in state.applied],
            "balances": [
                {"address": hexed(k.address), "balance": str(state.balances.get(k.address, 0))}
                for k in (fx.PUBLISHER, fx.CONSUMER)
            ],
        }

    def _publications(self) -> list[dict[str, Any]]:
        state = self.registry.state
        return [
            {
                "id": hexed(i),
                "role": int(p.role),
                "state": int(p.state),
                "deposit": str(p.deposit),
                "awaited": p.awaited,
                "reason": int(p.reason),
                "revoked": p.revoked,
            }
            for i, p in state.publications.items()
        ]

    def _epochs(self) -> dict[str, Any]:
        # Only scenarios that end in another epoch than the first, or with one announced, say so.
        epochs, validators = self.registry.state.epochs, self.registry.state.epochs.present.validators
        if epochs.present.epoch == 1 and epochs.announced is None:
            return {}
        announced = epochs.announced
        return {
            "epochs": {
                "present": [int(epochs.present.epoch), validators.f, validators.t],
                "validators": [hexed(v) for v in validators.validators],
                "before": 0 if epochs.before is None else int(epochs.before.epoch),
                "set": hexed(epochs.present.set_hash),
                "transcript": hexed(epochs.present.transcript),
                "announced": 0 if announced is None else int(announced.epoch),
                "announcedSet": hexed(ZERO32 if announced is None else announced.set_hash),
                "acknowledged": [
                    {"lane": hexed(encode(lane)), "epoch": int(epoch)}
                    for lane, epoch in self.registry.state.acknowledged.items()
                ],
            }
        }

    def _batches(self) -> dict[str, Any]:
        # Only scenarios with batches have these lists.
        state = self.registry.state
        if not state.batches:
            return {}
        return {
            "batches": [
                {
                    "home": hexed(encode(home)),
                    "root": hexed(root),
                    "role": int(b.role),
                    "state": int(b.state),
                    "count": b.count,
                    "taken": str(b.taken),
                    "earliest": b.earliest,
                    "latest": b.latest,
                    "deposits": str(b.deposits),
                    "awaited": b.awaited,
                    "reason": int(b.reason),
                }
                for (home, root), b in state.batches.items()
            ],
            "batchIds": [
                {"root": hexed(root), "ids": [hexed(i) for i in ids]} for root, ids in state.batch_ids.items()
            ],
            "states": [self._seen(identifier, proof) for identifier, proof in self.looks],
        }

    def _seen(self, identifier: PublicationId, proof: BatchProof) -> dict[str, Any]:
        seen: dict[str, Any] = {"id": hexed(identifier), "proof": hexed(encode(proof))}
        try:
            role, state = self.registry.state_in(identifier, proof)
        except Refusal as refusal:
            return seen | refusal_fields(refusal)
        return seen | {"role": int(role), "state": int(state)}
