"""Change of the validator set on the reference model (spec 42)."""

from __future__ import annotations

import dataclasses
import itertools

from caimi.crypto.quorum import ValidatorSet, verify_signers
from caimi.protocol.brakes import verify_order
from caimi.protocol.decision import emit
from caimi.protocol.publication import Disposition
from caimi.protocol.registry_state import Announcement, Epochs, EpochSigners, RegistryState
from caimi.types.errors import (
    BadBody,
    BadSetChange,
    NotAcknowledged,
    NotRetired,
    NotRoot,
    UnknownSet,
    WrongAuthority,
)
from caimi.types.primitives import ZERO32, Bytes32, Epoch
from caimi.types.records import EpochSet, Event, Item, Kind, Lane, SetChange, Signature
from caimi.wire.codec import struct_hash
from caimi.wire.digests import lane_hash, typed_digest
from caimi.wire.functions import decode_body, encode_body

__all__ = [
    "MAX_LANES",
    "apply_set_change",
    "apply_set_entered",
    "apply_set_retired",
    "change_set",
    "enter_set",
    "is_passed_over",
    "retire_set",
]

MAX_LANES = 64
"""Most registries besides the root that a change can wait for."""


def change_set(
    state: RegistryState,
    network: Bytes32,
    order: SetChange,
    signatures: tuple[Signature, ...],
    next_signatures: tuple[Signature, ...],
) -> None:
    """At the root: the next set takes over from the present one, and all registries are told.

    Arguments:
        signatures: by a quorum of the present set.
        next_signatures: by a quorum of the next set, whose members verified their shares.

    Raises:
        Refusal: Of `verify_order`, with a quorum's signatures.
        NotRoot: This registry is not the root.
        NotRetired: The set before the present one still counts.
        BadQuorum, BadValidatorSet: The next set is outside the bounds.
        BadSetChange: The epoch is not above the present one, there is no transcript, or the lanes are none that a
            change can wait for.
        Refusal: Of `verify_signers`, against the next set.
    """
    digest, epochs = typed_digest(network, order), state.epochs
    if digest == epochs.change:
        return
    verify_order(state, network, order, signatures, needed=epochs.present.validators.q)
    if state.root() != state.config.lane:
        raise NotRoot
    if epochs.before is not None:
        raise NotRetired(epochs.before.epoch)
    following = _signers(order.next)
    lanes, own = order.lanes, state.config.lane
    rises = all(low < high for low, high in itertools.pairwise(lanes))
    if order.next.epoch <= order.epoch or order.next.transcript == ZERO32:
        raise BadSetChange
    if not rises or own in lanes or len(lanes) > MAX_LANES:
        raise BadSetChange
    verify_signers(next_signatures, digest, validator_set=following.validators, needed=following.validators.q)
    state.epochs = Epochs(present=following, before=epochs.present, change=digest, lanes=lanes)
    _tell(state, Kind.SET_CHANGE, (), order.epoch, order.next.epoch)


def enter_set(state: RegistryState, following: EpochSet) -> None:
    """Away from the root: the announced set takes over, and the root is told.

    Raises:
        UnknownSet: It is not what was announced here.
        BadQuorum, BadValidatorSet: It is outside the bounds, which no root announces.
    """
    set_hash, epochs = struct_hash(following), state.epochs
    if set_hash == epochs.present.set_hash:
        return
    if epochs.announced != Announcement(epoch=following.epoch, set_hash=set_hash):
        raise UnknownSet(set_hash)
    state.epochs = Epochs(present=_signers(following), before=epochs.present)
    _tell(state, Kind.SET_ENTERED, (state.root(),), following.epoch)


def retire_set(state: RegistryState) -> None:
    """At the root: nothing signed by the set before counts any more, and all registries are told.

    Raises:
        NotRoot: This registry is not the root.
        NotAcknowledged: A lane that was not dropped has not entered the present epoch, as far as is known here.
    """
    epochs = state.epochs
    if state.root() != state.config.lane:
        raise NotRoot
    if epochs.before is None:
        return
    for lane in epochs.lanes:
        entered = state.acknowledged.get(lane) == epochs.present.epoch
        if not entered and not state.governance_of(lane).dropped:
            raise NotAcknowledged(lane_hash(lane))
    state.epochs = dataclasses.replace(epochs, before=None)
    _tell(state, Kind.SET_RETIRED, (), epochs.before.epoch)


def is_passed_over(state: RegistryState, source: Lane, certified: Epoch, event: Event) -> bool:
    """Whether an event of the root or to it has to come again, later or certified by the present set (spec 42 §3).

    Arguments:
        certified: epoch of the set that certified the run.
    """
    if event.schema != 1 or event.kind not in (Kind.SET_CHANGE, Kind.SET_RETIRED, Kind.SET_ENTERED):
        return False
    try:
        numbers = decode_body(Kind(event.kind), event.body)
    except BadBody:
        return False
    present = state.epochs.present
    match event.kind:
        case Kind.SET_CHANGE:
            ends, begins = numbers
            return source == state.root() and begins > ends > present.epoch
        case Kind.SET_RETIRED:
            return source == state.root() and (numbers[0] >= present.epoch or certified != present.epoch)
        case _:
            told = (numbers[0], event.subject) == (present.epoch, present.set_hash)
            return told and source in state.epochs.lanes and certified != present.epoch


def apply_set_change(state: RegistryState, source: Lane, item: Item) -> Disposition:
    """The root announces a set.

    Raises:
        BadBody, WrongAuthority: The bytes are none, or the source is not the root.
    """
    ends, begins = decode_body(Kind.SET_CHANGE, item.event.body)
    if source != state.root():
        raise WrongAuthority
    if begins <= ends:
        raise BadBody  # no registry emits it: epochs rise
    epochs = state.epochs
    if ends != epochs.present.epoch or (epochs.announced is not None and begins <= epochs.announced.epoch):
        return Disposition.IGNORED
    announced = Announcement(epoch=Epoch(begins), set_hash=item.event.subject)
    state.epochs = dataclasses.replace(epochs, announced=announced)
    return Disposition.PENDING


def apply_set_entered(state: RegistryState, source: Lane, item: Item) -> Disposition:
    """A registry tells the root that it entered a set.

    Raises:
        BadBody, WrongAuthority: The bytes are none, or the root does not wait for the source.
        UnknownSet: It is another set than the present one.
    """
    (epoch,) = decode_body(Kind.SET_ENTERED, item.event.body)
    present = state.epochs.present
    if source not in state.epochs.lanes:
        raise WrongAuthority
    if epoch < present.epoch:
        return Disposition.IGNORED
    if (epoch, item.event.subject) != (present.epoch, present.set_hash):
        raise UnknownSet(item.event.subject)
    if state.acknowledged.get(source) == epoch:
        return Disposition.IGNORED
    state.acknowledged[source] = Epoch(epoch)
    return Disposition.APPLIED


def apply_set_retired(state: RegistryState, source: Lane, item: Item) -> Disposition:
    """The root retires the set before the present one.

    Raises:
        BadBody, WrongAuthority: The bytes are none, or the source is not the root.
    """
    (epoch,) = decode_body(Kind.SET_RETIRED, item.event.body)
    if source != state.root():
        raise WrongAuthority
    epochs = state.epochs
    if epochs.before is None or epoch != epochs.before.epoch:
        return Disposition.IGNORED
    state.epochs = dataclasses.replace(epochs, before=None)
    return Disposition.APPLIED


def _signers(following: EpochSet) -> EpochSigners:
    validators = ValidatorSet(validators=following.validators, f=following.f, t=following.t)
    return EpochSigners(
        epoch=following.epoch,
        validators=validators,
        set_hash=struct_hash(following),
        transcript=following.transcript,
    )


def _tell(state: RegistryState, kind: Kind, to: tuple[Lane, ...], *numbers: int) -> None:
    # The subject is the set that is present now.
    body = encode_body(kind, *numbers)
    subject = state.epochs.present.set_hash
    emit(state, Event(schema=1, kind=kind, destinations=to, subject=subject, body=body))
