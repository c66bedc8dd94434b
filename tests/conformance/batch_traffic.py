"""Seeded random calls and events about batches: lawful ones, repeated ones, and ones with exactly one thing wrong."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from caimi.crypto.ecdsa import SigningKey
from caimi.protocol.batches import MAX_BATCH, batch_root
from caimi.protocol.publication import Role, State
from caimi.protocol.registry_state import BatchRecord, RegistryState
from caimi.types.primitives import ZERO32, Bytes32, PublicationId
from caimi.types.records import BatchProof, Event, Kind, Lane, Publication
from caimi.wire.codec import Record
from caimi.wire.digests import batch_leaf, typed_digest
from caimi.wire.functions import encode_body
from caimi.wire.merkle import merkle_multiproof
from tests.conformance.registry_world import NETWORK, OTHERS, PEOPLE, word

__all__ = ["BATCHES", "BatchTraffic", "seen_in", "shown_batch"]

Call = tuple[str, tuple[Any, ...]]

BATCHES = frozenset(
    (
        *("EmptyBatch", "BatchItem", "UnknownBatch", "NotDecided", "TakenOut", "InBatch", "DeadlineNotPassed"),
        *("ItemOutOfRun", "WrongRoot", "OwnEvents", "ZeroRoot", "WrongAuthority"),
        *(
            f"batch {role.name} {state.name}"
            for role in Role
            for state in (State.LOCKED, State.COMMITTED, State.ABORTED)
        ),
        *("taken out", "item KnownPublication", "item LowBalance", "item WrongSigner"),
    )
)
"""What random calls have to meet."""


class Maker(Protocol):
    """What makes publications and signatures: the traffic that these calls are part of."""

    rng: random.Random
    publications: dict[PublicationId, Publication]

    def publication(self) -> Publication:
        """A lawful one, or one with something wrong in it."""
        ...

    def remember(self, p: Publication) -> Publication:
        """Let later calls meet it."""
        ...

    def sign(self, key: SigningKey, record: Record) -> bytes:
        """Mostly the right signature."""
        ...

    def nonce(self) -> Bytes32:
        """Mostly a fresh one."""
        ...


@dataclass(frozen=True, slots=True)
class Gathered:
    """Publications in the order of their batch."""

    publications: tuple[Publication, ...]

    @property
    def home(self) -> Lane:
        """Of the first."""
        return self.publications[0].home

    @property
    def identifiers(self) -> tuple[PublicationId, ...]:
        """By index."""
        return tuple(PublicationId(typed_digest(NETWORK, p)) for p in self.publications)

    @property
    def root(self) -> Bytes32:
        """The batch's name."""
        return batch_root(self.identifiers)

    def proof(self, index: int) -> BatchProof:
        """That the publication is at `index`."""
        leaves = [batch_leaf(i, identifier) for i, identifier in enumerate(self.identifiers)]
        return BatchProof(home=self.home, root=self.root, index=index, siblings=merkle_multiproof(leaves, [index]))


@dataclass
class BatchTraffic:
    """Makes calls about batches of `own` and of others' batches of which it is a mirror."""

    maker: Maker
    own: Lane
    records: Mapping[tuple[Lane, Bytes32], BatchRecord] = field(default_factory=dict[tuple[Lane, Bytes32], BatchRecord])
    """Told by the caller: what the registry has, so that later calls have a chance."""
    gathered: dict[Bytes32, Gathered] = field(default_factory=dict[Bytes32, Gathered])
    names: int = 0

    @property
    def rng(self) -> random.Random:
        """One stream of chance for all traffic."""
        return self.maker.rng

    def chance(self, percent: int) -> bool:
        """True in `percent` of 100 cases."""
        return self.rng.randrange(100) < percent

    def call(self) -> Call:
        """One call."""
        makers = (self.lock, self.answer, self.abort, self.take_out)
        return self.rng.choices(makers, weights=(36, 12, 12, 40))[0]()

    def gather(self, home: Lane) -> Gathered:
        """A new batch; sometimes with something wrong in one of them, or with one that is known."""
        base = self.maker.publication()
        rest = [lane for lane in (self.own, *OTHERS) if lane != home]
        needed = rest if home == self.own else [lane for lane in rest if lane == self.own or self.chance(50)]
        mirrors = tuple(sorted(needed if home != self.own or self.chance(30) else [self.rng.choice(rest)]))
        made: list[Publication] = []
        for _ in range(self.rng.randrange(1, 6)):
            changes: dict[str, Any] = {"home": home, "mirrors": mirrors}
            p = self.maker.publication()
            if self.chance(85):
                changes["deadline"] = base.deadline
            if self.chance(70):
                self.names += 1
                changes["name"] = f"batch-{self.names}"
            made.append(self.maker.remember(dataclasses.replace(p, **(changes if self.chance(96) else {}))))
        if self.chance(8):
            made.append(self.rng.choice((made[0], self.rng.choice(list(self.maker.publications.values())))))
        batch = Gathered(tuple(made))
        self.gathered[batch.root] = batch
        return batch

    def known(self, home: Lane | None = None) -> Gathered:
        """Mostly one that was made before, of the home if one is named."""
        recent = [b for b in list(self.gathered.values())[-8:] if home in (None, b.home)]
        if not recent or self.chance(8):
            return self.gather(home or self.rng.choice((self.own, *OTHERS)))
        return self.rng.choice(recent)

    def lock(self) -> Call:
        """Lock a batch, new or again, or one that no registry takes."""
        batch = self.known(self.own) if self.chance(25) else self.gather(self.own if self.chance(95) else OTHERS[0])
        publications = batch.publications
        signatures = tuple(self.sign(p) for p in publications)
        if self.chance(10):
            publications, signatures = self.rng.choice(
                (
                    ((), ()),
                    (publications, signatures[:-1]),
                    (publications, (*signatures, b"")),
                    (publications[:1] * (MAX_BATCH + 1), ()),
                )
            )
        return "lockBatch", (publications, signatures)

    def sign(self, publication: Publication) -> bytes:
        """By its publisher; of a batch fewer are wrong than of single calls, or hardly any would be locked."""
        key = next(k for k in PEOPLE if k.address == publication.publisher)
        return self.maker.sign(key, publication) if self.chance(45) else self._good(key, publication)

    @staticmethod
    def _good(key: SigningKey, publication: Publication) -> bytes:
        return key.sign(typed_digest(NETWORK, publication)).to_bytes()

    def answer(self) -> Call:
        """A mirror's promise."""
        batch = self.known(self.rng.choice(OTHERS))
        home = batch.home if self.chance(92) else self.own
        return "answerBatch", (home, batch.root if self.chance(95) else ZERO32)

    def abort(self) -> Call:
        """Abort by root."""
        ours = [root for home, root in list(self.records)[-20:] if home == self.own]
        if ours and self.chance(75):
            return "abortBatch", (self.rng.choice(ours),)
        return "abortBatch", (self.known(self.own).root if self.chance(75) else word("no batch"),)

    def take_out(self) -> Call:
        """One publication of a batch, mostly with its proof and mostly of a batch that is known here."""
        here = [self.gathered[root] for _, root in self.records if root in self.gathered]
        batch = self.rng.choice(here[-12:]) if here and self.chance(85) else self.known()
        index = self.rng.randrange(len(batch.publications))
        publication, proof = batch.publications[index], batch.proof(index)
        if self.chance(12):
            changes: Sequence[dict[str, Any]] = (
                {"index": self.rng.choice((len(batch.publications), index ^ 1, 65_535))},
                {"siblings": proof.siblings[:-1]},
                {"siblings": (*proof.siblings, word("more"))},
                {"siblings": tuple(reversed(proof.siblings))},
                {"root": word("no batch")},
                {"home": self.rng.choice((self.own, *OTHERS))},
            )
            proof = dataclasses.replace(proof, **self.rng.choice(changes))
        return "takeOut", (publication, self.sign(publication), proof)

    def event(self, source: Lane, to: tuple[Lane, ...]) -> Event:
        """What another registry tells of a batch: as its home, or as a mirror of one of ours."""
        waiting = [root for (_, root), b in self.records.items() if b.state is State.LOCKED and source in b.mirrors]
        if waiting and self.chance(60):
            batch = self.gathered[self.rng.choice(waiting[-4:])]
        else:
            batch = self.known(self.rng.choice((source, self.own)))
        count = len(batch.publications) if self.chance(92) else self.rng.choice((0, MAX_BATCH, MAX_BATCH + 1))
        taken = self.rng.randrange(1 << len(batch.publications)) if self.chance(40) else 0
        version, home = 1 if self.chance(88) else 2, batch.home if self.chance(95) else source
        outcome = (State.COMMITTED, 0) if self.chance(65) else (State.ABORTED, self.rng.choice((1, 2)))
        if self.chance(6):
            outcome = self.rng.choice(((State.LOCKED, 0), (State.SUPERSEDED, 0), (State.ABORTED, 4)))
        answered = (Kind.BATCH_ANSWERED, (version, home))
        decided = (Kind.BATCH_OUTCOME, (*outcome, count, taken))
        kind, values = decided if batch.home == source else answered
        if self.chance(6):
            kind, values = self.rng.choice((answered, decided, (Kind.BATCH_LOCKED, (count,))))
        return Event(schema=1, kind=kind, destinations=to, subject=batch.root, body=encode_body(kind, *values))


def shown_batch(b: BatchRecord | None) -> tuple[Any, ...]:
    """What the view `batch` answers."""
    if b is None:
        return (0,) * 9
    return (b.role, b.state, b.count, b.taken, b.earliest, b.latest, b.deposits, b.awaited, b.reason)


def seen_in(state: RegistryState) -> list[str]:
    """States that publications and batches have reached."""
    batches = state.batches.values()
    taken = ["taken out" for b in batches if b.role is Role.HOME and b.taken]
    states = [f"state {p.state.name}" for p in state.publications.values()]
    return [*states, *taken, *(f"batch {b.role.name} {b.state.name}" for b in batches)]
