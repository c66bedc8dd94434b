"""Seeded random orders of validators: pauses, resumptions, decisions about lanes; lawful ones and others."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from caimi.protocol.registry_state import Brakes, GovernedLane, Limits
from caimi.types.primitives import ZERO32, Epoch, Generation, SignerIndex
from caimi.types.records import Event, Governance, GovernanceAction, Kind, Lane, Pause, Resume, Signature
from caimi.wire.codec import Record
from caimi.wire.digests import lane_hash, typed_digest
from caimi.wire.functions import encode_body
from tests.conformance.registry_world import NETWORK, OTHERS, STRANGER, VALIDATORS, word

__all__ = ["BRAKES", "LIMITS", "PHANTOM", "OrderTraffic"]

LIMITS = Limits(resume_delay=60, withdrawal_cap=4_000)
PHANTOM = Lane(chain=word("phantom chain"), registry=word("phantom registry"))
"""A lane of which little comes, so that it can be dropped without an end to the traffic."""
BRAKES = frozenset(
    ("Paused", "NotPaused", "TooEarly", "WrongCounter", "CapReached", "NotRoot", "BadGovernance", "LaneDropped")
)
"""Refusals that random calls have to meet."""
_RESUME, _DROP = GovernanceAction.RESUME_LANE, GovernanceAction.DROP_LANE


@dataclass
class OrderTraffic:
    """Makes orders. What the registry says is told by the caller, so that most orders are the next ones."""

    rng: random.Random
    own: Lane
    root: Lane
    brakes: Brakes = field(default_factory=Brakes)
    governed: Mapping[Lane, GovernedLane] = field(default_factory=dict[Lane, GovernedLane])

    def chance(self, percent: int) -> bool:
        """True in `percent` of 100 cases."""
        return self.rng.randrange(100) < percent

    def generation(self, lane: Lane) -> Generation:
        """What certificates of a lane have to name."""
        return self.governed.get(lane, GovernedLane()).generation

    def signed(self, record: Record, needed: int) -> tuple[Signature, ...]:
        """Mostly enough signatures, in order."""
        count = needed if self.chance(80) else self.rng.choice((needed - 1, 4))
        chosen = sorted(self.rng.sample(range(4), count))
        if self.chance(4):
            chosen.reverse()
        digest = typed_digest(NETWORK, record)
        list_ = [VALIDATORS[n].sign(digest).as_record(SignerIndex(n)) for n in chosen]
        if self.chance(4):
            list_[-1] = STRANGER.sign(digest).as_record(SignerIndex(chosen[-1]))
        if self.chance(4):
            list_.append(list_[-1])
        return tuple(list_)

    def at(self) -> Lane:
        """Mostly this registry."""
        return self.own if self.chance(95) else OTHERS[0]

    def epoch(self) -> Epoch:
        """Mostly the present one."""
        return Epoch(1 if self.chance(95) else 2)

    def brake(self) -> tuple[str, tuple[Any, ...]]:
        """A pause, or what ends it; mostly with the next counter."""
        counter = self.brakes.counter + self.rng.choice((1, 1, 1, 1, 1, 0, 2))
        if self.chance(85 if self.brakes.paused else 30):
            resume = Resume(at=self.at(), epoch=self.epoch(), counter=counter)
            return "resume", (resume, self.signed(resume, 3))
        pause = Pause(at=self.at(), epoch=self.epoch(), counter=counter)
        return "pause", (pause, self.signed(pause, 2))

    def govern(self) -> tuple[str, tuple[Any, ...]]:
        """A decision about a lane; lanes of which something comes are seldom dropped."""
        lane = self.rng.choice((*[PHANTOM] * 4, *OTHERS, self.own))
        last = self.governed.get(lane, GovernedLane())
        action = self.rng.choice((_RESUME, _RESUME, *[_DROP if lane == PHANTOM else _RESUME] * 2, 0))
        kept = action == _RESUME if self.chance(90) else action != _RESUME
        order = Governance(
            at=self.at(),
            epoch=self.epoch(),
            action=action,
            lane=lane,
            version=last.version + self.rng.choice((1, 1, 1, 1, 0, 2)),
            generation=Generation(last.generation + ((action == _RESUME) if self.chance(90) else 2)),
            height=9 if kept else 0,
            block_hash=word("kept") if kept else ZERO32,
        )
        return "govern", (order, self.signed(order, 3))

    def told(self, to: tuple[Lane, ...]) -> Event:
        """GOVERNANCE of another registry, which may not be the root."""
        lane = self.rng.choice((PHANTOM, PHANTOM, *OTHERS, self.own))
        last = self.governed.get(lane, GovernedLane())
        action = self.rng.choice((_RESUME, _RESUME, *[_DROP if lane == PHANTOM else _RESUME] * 2, 7))
        version = max(0, last.version + self.rng.randrange(-1, 3))
        values = (action, lane, version, last.generation + self.rng.randrange(2), 9, word("kept"))
        body = encode_body(Kind.GOVERNANCE, *values)
        return Event(schema=1, kind=Kind.GOVERNANCE, destinations=to, subject=lane_hash(lane), body=body)
