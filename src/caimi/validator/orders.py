"""Orders to registries and decisions about lanes: signed when this validator's operator says so (spec 35).

Whether to stop a registry or to resume a lane is for people to decide. What is checked here is that the order can take
effect at all, and that a lane which is resumed keeps what this validator has signed.
"""

from __future__ import annotations

from caimi.crypto.ecdsa import SigningKey
from caimi.ports.attestation_store import AttestedBlock
from caimi.ports.observer import Observer
from caimi.ports.validators import Abstains
from caimi.protocol.governance import is_lawful
from caimi.types.errors import BadGovernance, LaneDropped, NotPaused, NotRoot, WrongCounter, WrongEpoch
from caimi.types.records import Governance, GovernanceAction, Lane, Pause, Resume, Signature
from caimi.validator.attestor import Attestor, Seat
from caimi.validator.lane import AttestedLane
from caimi.wire.digests import typed_digest

__all__ = ["Order", "Orders"]

Order = Pause | Resume | Governance


class Orders:
    """Signs orders; whoever calls it has made sure that the operator asks."""

    def __init__(self, seat: Seat, attestor: Attestor, *, key: SigningKey, observer: Observer) -> None:
        self._seat = seat
        self._attestor = attestor
        self._key = key
        self._observer = observer

    async def sign(self, order: Order) -> Signature:
        """This validator's signature; the same order gives the same one again.

        Raises:
            WrongEpoch, WrongCounter: It is not the next order of this epoch.
            NotPaused: There is no pause to end.
            NotRoot, LaneDropped, BadGovernance: No root registry would record it.
            Abstains: A lane is not read here or not now; or the block to keep contradicts what was signed here.
            ChainUnavailable: The registry cannot be asked now.
        """
        if order.epoch != self._seat.epoch:
            raise WrongEpoch(self._seat.epoch, order.epoch)
        at = self._lane(order.at)
        if isinstance(order, Governance):
            await self._check_governance(at, order)
        else:
            await self._check_brake(at, order)
        self._observer.step("validator.ordered", order=type(order).__name__, lane=at.source.name, text=str(order))
        return self._key.sign(typed_digest(self._seat.network, order)).as_record(self._seat.signer)

    async def kept_block(self, lane: Lane) -> AttestedBlock:
        """The highest block that could be kept if a lane were resumed now: see `AttestedLane.last_common_block`.

        Raises:
            Abstains: It is not read here, or not now.
        """
        return await self._lane(lane).last_common_block()

    async def _check_brake(self, at: AttestedLane, order: Pause | Resume) -> None:
        brakes = await at.source.reader.brakes()
        if order.counter != brakes.counter + 1:
            raise WrongCounter(brakes.counter + 1, order.counter)
        if isinstance(order, Resume) and not brakes.paused:
            raise NotPaused

    async def _check_governance(self, at: AttestedLane, order: Governance) -> None:
        if order.at != self._seat.root:
            raise NotRoot
        before = await at.source.reader.governed(order.lane)
        if before.dropped:
            raise LaneDropped
        if order.version != before.version + 1:
            raise WrongCounter(before.version + 1, order.version)
        if order.lane == self._seat.root or not is_lawful(order, before):
            raise BadGovernance
        if order.action == GovernanceAction.RESUME_LANE:
            await self._lane(order.lane).check_keeps(AttestedBlock(height=order.height, block_hash=order.block_hash))

    def _lane(self, lane: Lane) -> AttestedLane:
        found = self._attestor.lane(lane)
        if found is None:
            raise Abstains("this validator does not read that lane")
        return found
