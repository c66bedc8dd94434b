"""Seeded random changes of the validator set, and words about them: lawful ones, and others (spec 42)."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.quorum import quorum_size
from caimi.protocol.registry_state import Epochs
from caimi.types.primitives import ZERO32, Address, Epoch, Generation, Sequence, SignerIndex
from caimi.types.records import (
    Certificate,
    Checkpoint,
    EpochSet,
    Event,
    Item,
    Kind,
    Lane,
    Pause,
    Resume,
    SetChange,
    Signature,
)
from caimi.wire.codec import Record, struct_hash
from caimi.wire.digests import leaf_hash, typed_digest
from caimi.wire.functions import encode_body, encode_call
from caimi.wire.merkle import merkle_root
from tests.conformance.registry_world import NETWORK, OTHERS, STRANGER, VALIDATORS, word

__all__ = ["EPOCHS", "EpochTraffic", "epoch_set"]

EPOCHS = frozenset(
    (
        *("WrongEpoch", "NotRetired", "NotAcknowledged", "UnknownSet", "BadSetChange", "NotRoot"),
        *("TooFewSignatures", "WrongSigner", "BadQuorum", "BadValidatorSet"),
        *("note 1 0", "note 2 0", "note 3 430", "note 3 431", "note 3 723", "note 4 0"),
        *("passed over", "two sets", "epoch 3"),
    )
)
"""What random calls have to meet."""


@cache
def _keys(epoch: int) -> tuple[SigningKey, ...]:
    if epoch == 1:
        return VALIDATORS
    stays = VALIDATORS[epoch % 4]
    return (stays, *(SigningKey(word(f"validator {n} of epoch {epoch}")) for n in range(3 + 3 * (epoch % 2))))


def _f(epoch: int) -> int:
    return (len(_keys(epoch)) - 1) // 3


@cache
def epoch_set(epoch: int) -> EpochSet:
    """The set that an epoch has, if it comes to it."""
    return EpochSet(
        epoch=Epoch(epoch),
        validators=tuple(k.address for k in _keys(epoch)),
        f=_f(epoch),
        t=_f(epoch) + 1,
        transcript=word(f"transcript {epoch}"),
    )


@dataclass
class EpochTraffic:
    """Makes calls. What the registry believes is told by the caller, so that most calls are the next ones."""

    rng: random.Random
    own: Lane
    root: Lane
    epochs: Epochs
    lengths: dict[Lane, int] = field(default_factory=dict[Lane, int])

    def chance(self, percent: int) -> bool:
        """True in `percent` of 100 cases."""
        return self.rng.randrange(100) < percent

    def next(self) -> bytes:
        """One call."""
        match self.rng.randrange(10):
            case 0 | 1:
                return self.change()
            case 2:
                return encode_call("retireSet")
            case 3 | 4:
                return self.enter()
            case 5:
                return self.brake()
            case _:
                return self.carry()

    def signed(self, epoch: int, record: Record, needed: int | None = None) -> tuple[Signature, ...]:
        """Mostly enough signatures of an epoch's set."""
        keys, digest = _keys(epoch), typed_digest(NETWORK, record)
        many = quorum_size(len(keys), _f(epoch)) if needed is None else needed
        count = many if self.chance(94) else many - 1
        made = [keys[n].sign(digest).as_record(SignerIndex(n)) for n in range(count)]
        if made and self.chance(4):
            made[-1] = STRANGER.sign(digest).as_record(made[-1].signer)
        return tuple(made)

    def some_epoch(self) -> int:
        """Mostly one that counts."""
        present = self.epochs.present.epoch
        before = self.epochs.before.epoch if self.epochs.before is not None else max(1, present - 1)
        return self.rng.choice((present, present, present, before, before, present + 1))

    def change(self) -> bytes:
        """A change, mostly of the present set."""
        ends = self.epochs.present.epoch if self.chance(92) else self.some_epoch()
        following = epoch_set(max(1, ends + self.rng.choice((1, 1, 1, 1, 2, 0))))
        odd: list[dict[str, Any]] = [
            {"transcript": ZERO32},
            {"f": 0},
            {"validators": (*following.validators[:-1], following.validators[0])},
            {"validators": (*following.validators[:-1], Address(bytes(20)))},
        ]
        if self.chance(20):
            following = dataclasses.replace(following, **self.rng.choice(odd))
        lanes = self.rng.choice((OTHERS, OTHERS[:1], OTHERS[1:], ()))
        order = SetChange(
            at=self.own if self.chance(97) else OTHERS[1],
            epoch=Epoch(ends),
            next=following,
            lanes=tuple(sorted(lanes, reverse=self.chance(5))),
        )
        return encode_call("changeSet", order, self.signed(ends, order), self.signed(following.epoch, order))

    def enter(self) -> bytes:
        """Mostly what is announced."""
        announced = self.epochs.announced
        known = announced is not None and self.chance(80)
        return encode_call("enterSet", epoch_set(announced.epoch if announced and known else self.some_epoch()))

    def brake(self) -> bytes:
        """An order, of an epoch that may have ended; its counter is mostly wrong."""
        epoch, counter = self.some_epoch(), self.rng.randrange(1, 4)
        if self.chance(50):
            pause = Pause(at=self.own, epoch=Epoch(epoch), counter=counter)
            return encode_call("pause", pause, self.signed(epoch, pause, _f(epoch) + 1))
        resume = Resume(at=self.own, epoch=Epoch(epoch), counter=counter)
        return encode_call("resume", resume, self.signed(epoch, resume))

    def told(self) -> Event:
        """A word about sets, at its time or not."""
        ends = self.some_epoch()
        begins = max(0, ends + self.rng.choice((1, 1, 1, 2, 0)))
        present = epoch_set(self.epochs.present.epoch)
        kind, subject, numbers = self.rng.choice(
            (
                (Kind.SET_CHANGE, struct_hash(epoch_set(max(1, begins))), (ends, begins)),
                (Kind.SET_CHANGE, struct_hash(epoch_set(max(1, begins))), (ends, begins)),
                (Kind.SET_RETIRED, struct_hash(present), (self.some_epoch(),)),
                (Kind.SET_ENTERED, struct_hash(present), (present.epoch,)),
                (Kind.SET_ENTERED, struct_hash(epoch_set(ends)), (ends,)),
            )
        )
        body = encode_body(kind, *numbers)
        if self.chance(5):
            body = self.rng.choice((b"", body + bytes(32), b"\x01" + body[1:]))
        return Event(schema=1, kind=kind, destinations=(), subject=subject, body=body)

    def carry(self) -> bytes:
        """A run of such words, of the root or of another, certified by an epoch's set; it may come again."""
        source = self.root if self.root != self.own and self.chance(75) else self.rng.choice(OTHERS)
        # Numbers of its own, so that other traffic and this one do not tell different events under one.
        first = 100_000 + self.lengths.get(source, 0) - (self.rng.randrange(3) if self.chance(20) else 0)
        items = tuple(
            Item(sequence=Sequence(first + n), event=self.told()) for n in range(self.rng.choice((1, 1, 2, 3)))
        )
        self.lengths[source] = max(self.lengths.get(source, 0), items[-1].sequence + 1 - 100_000)
        epoch = self.some_epoch()
        point = Checkpoint(
            source=source,
            generation=Generation(1),
            epoch=Epoch(epoch),
            first_sequence=items[0].sequence,
            last_sequence=items[-1].sequence,
            root=merkle_root([leaf_hash(source, item) for item in items]),
            height=1,
            block_hash=word("block"),
        )
        certificate = Certificate(checkpoint=point, signatures=self.signed(epoch, point))
        return encode_call("applyRun", certificate, items, ())
