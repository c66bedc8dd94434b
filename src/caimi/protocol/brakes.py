"""Pause, resume and the cap on withdrawals, on the reference model (spec 35 §1, §2)."""

from __future__ import annotations

from caimi.crypto.quorum import verify_signers
from caimi.protocol.registry_state import Brakes, RegistryState
from caimi.types.errors import CapReached, NotPaused, Paused, TooEarly, WrongCounter, WrongEpoch, WrongRegistry
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import Governance, Pause, Resume, SetChange, Signature
from caimi.wire.digests import typed_digest

__all__ = ["check_running", "check_withdrawal", "count_withdrawal", "pause", "resume", "verify_order"]


def verify_order(
    state: RegistryState,
    network: Bytes32,
    order: Pause | Resume | Governance | SetChange,
    signatures: tuple[Signature, ...],
    *,
    needed: int,
) -> None:
    """Check that at least `needed` validators of the present set signed an order for this registry.

    Raises:
        WrongEpoch: It names another epoch.
        Refusal: Of `verify_signers`.
        WrongRegistry: It is for another registry.
    """
    if order.epoch != state.epoch:
        raise WrongEpoch(state.epoch, order.epoch)
    validators = state.epochs.present.validators
    verify_signers(signatures, typed_digest(network, order), validator_set=validators, needed=needed)
    lane = state.config.lane
    if order.at != lane:
        raise WrongRegistry(order.at.registry, lane.registry)


def pause(
    state: RegistryState, network: Bytes32, order: Pause, signatures: tuple[Signature, ...], *, now: UnixSeconds
) -> None:
    """Stop what the registry begins; another pause while it is paused begins the delay anew.

    Raises:
        Refusal: Of `verify_order`, with f+1 signatures.
        WrongCounter: It is neither the present order nor the next one.
    """
    verify_order(state, network, order, signatures, needed=state.epochs.present.validators.f + 1)
    brakes = state.brakes
    if brakes.paused and order.counter == brakes.counter:
        return
    if order.counter != brakes.counter + 1:
        raise WrongCounter(brakes.counter + 1, order.counter)
    state.brakes = Brakes(paused=True, counter=order.counter, since=now)


def resume(
    state: RegistryState, network: Bytes32, order: Resume, signatures: tuple[Signature, ...], *, now: UnixSeconds
) -> None:
    """End a pause.

    Raises:
        Refusal: Of `verify_order`, with a quorum's signatures.
        WrongCounter, NotPaused, TooEarly: In this order.
    """
    verify_order(state, network, order, signatures, needed=state.epochs.present.validators.q)
    brakes = state.brakes
    if not brakes.paused and order.counter == brakes.counter:
        return
    if order.counter != brakes.counter + 1:
        raise WrongCounter(brakes.counter + 1, order.counter)
    if not brakes.paused:
        raise NotPaused
    earliest = brakes.since + state.config.limits.resume_delay
    if now < earliest:
        raise TooEarly(earliest, now)
    state.brakes = Brakes(paused=False, counter=order.counter, since=brakes.since)


def check_running(state: RegistryState) -> None:
    """First check of everything that begins something.

    Raises:
        Paused: So it is.
    """
    if state.brakes.paused:
        raise Paused


def check_withdrawal(state: RegistryState, amount: int) -> None:
    """Refuse what is above the epoch's cap, if there is one.

    Raises:
        CapReached: So it is.
    """
    cap, asked = state.config.limits.withdrawal_cap, state.withdrawn.get(state.epoch, 0) + amount
    if 0 < cap < asked:
        raise CapReached(cap, asked)


def count_withdrawal(state: RegistryState, amount: int) -> None:
    """Count what was withdrawn towards the epoch's cap, if there is one."""
    if state.config.limits.withdrawal_cap:
        state.withdrawn[state.epoch] = state.withdrawn.get(state.epoch, 0) + amount
