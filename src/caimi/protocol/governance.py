"""Governance of lanes on the reference model: recorded at the root, carried to all (spec 35 §3)."""

from __future__ import annotations

from caimi.protocol.brakes import verify_order
from caimi.protocol.decision import emit
from caimi.protocol.publication import Disposition
from caimi.protocol.registry_state import GovernedLane, RegistryState
from caimi.types.errors import BadBody, BadGovernance, LaneDropped, NotRoot, WrongAuthority, WrongCounter
from caimi.types.primitives import ZERO32, Bytes32
from caimi.types.records import Event, Governance, GovernanceAction, Item, Kind, Lane, Signature
from caimi.wire.digests import lane_hash
from caimi.wire.functions import decode_body, encode_body

__all__ = ["apply_governance", "decision_in", "govern", "is_lawful"]


def govern(state: RegistryState, network: Bytes32, order: Governance, signatures: tuple[Signature, ...]) -> None:
    """Record a quorum's decision about a lane, and tell all registries.

    Raises:
        Refusal: Of `verify_order`, with a quorum's signatures.
        NotRoot: This registry is not the root.
        LaneDropped: The lane was dropped: that is the last decision about it.
        WrongCounter: The version is neither the present decision's nor the next one.
        BadGovernance: Another action, the root's own lane, or a generation or block that the action does not have.
    """
    verify_order(state, network, order, signatures, needed=state.epochs.present.validators.q)
    if state.root() != state.config.lane:
        raise NotRoot
    before, after = state.governance_of(order.lane), _decided(order)
    if after == before:
        return
    if before.dropped:
        raise LaneDropped
    if order.version != before.version + 1:
        raise WrongCounter(before.version + 1, order.version)
    if order.lane == state.config.lane or not is_lawful(order, before):
        raise BadGovernance
    state.governed[order.lane] = after
    body = encode_body(
        Kind.GOVERNANCE, order.action, order.lane, order.version, order.generation, order.height, order.block_hash
    )
    emit(state, Event(schema=1, kind=Kind.GOVERNANCE, destinations=(), subject=lane_hash(order.lane), body=body))


def apply_governance(state: RegistryState, source: Lane, item: Item) -> Disposition:
    """A decision that the root tells.

    Raises:
        BadBody, WrongAuthority: The bytes are none, or the source is not the root.
    """
    action, lane, version, generation, height, block_hash = decode_body(Kind.GOVERNANCE, item.event.body)
    if generation == 0:
        raise BadBody  # no registry emits it: generations begin at 1
    if source != state.root():
        raise WrongAuthority
    before = state.governance_of(lane)
    if action not in tuple(GovernanceAction) or before.dropped or version <= before.version:
        return Disposition.IGNORED
    dropped = action == GovernanceAction.DROP_LANE
    state.governed[lane] = GovernedLane(
        version=version, generation=generation, height=height, block_hash=block_hash, dropped=dropped
    )
    return Disposition.APPLIED


def decision_in(event: Event) -> tuple[Lane, GovernedLane] | None:
    """What an event of the root decides about which lane; None for every other event."""
    if event.schema != 1 or event.kind != Kind.GOVERNANCE:
        return None
    try:
        action, lane, version, generation, height, block_hash = decode_body(Kind.GOVERNANCE, event.body)
    except BadBody:
        return None
    if action not in tuple(GovernanceAction):
        return None
    dropped = action == GovernanceAction.DROP_LANE
    return lane, GovernedLane(
        version=version, generation=generation, height=height, block_hash=block_hash, dropped=dropped
    )


def _decided(order: Governance) -> GovernedLane:
    return GovernedLane(
        version=order.version,
        generation=order.generation,
        height=order.height,
        block_hash=order.block_hash,
        dropped=order.action == GovernanceAction.DROP_LANE,
    )


def is_lawful(order: Governance, before: GovernedLane) -> bool:
    """Whether generation and block are such as the order's action has, after what was decided before."""
    if order.action == GovernanceAction.RESUME_LANE:
        return order.generation == before.generation + 1 and order.block_hash != ZERO32
    kept = (order.generation, order.height, order.block_hash)
    return order.action == GovernanceAction.DROP_LANE and kept == (before.generation, 0, ZERO32)
