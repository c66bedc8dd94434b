"""The keys of one network: what its ledger says of them, and what each validator says."""

from __future__ import annotations

from dataclasses import dataclass

from caimi.crypto.dkg_session import DkgSession
from caimi.crypto.quorum import ValidatorSet
from caimi.sdk.connections import Connections
from caimi.sdk.errors import ServiceAnswer, ServiceUnavailable, UnprovenKey
from caimi.sdk.key_audit import AuditedAttempt, audit_key, made_key
from caimi.sdk.network import Network, ValidatorSite

__all__ = ["HeldKey", "audit_network", "first_session", "held_keys"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldKey:
    """How one validator stands, by its own word."""

    index: int
    answers: bool
    attempt: int
    phase: str
    """See a validator's /v1/status; "" if it does not answer."""
    waits_for: tuple[int, ...]
    fault: str | None
    group_key: bytes | None


def first_session(network: Network) -> DkgSession:
    """The session of the first attempt at the key of the network's epoch."""
    validators = ValidatorSet.from_genesis(network.genesis)
    return DkgSession(network=network.id, epoch=network.epoch, attempt=0, validators=validators)


async def audit_network(connections: Connections) -> tuple[AuditedAttempt, ...]:
    """Judge every attempt at the key by the ledger alone; no validator is asked.

    Raises:
        UnprovenKey: The ledger gives another key than network.json names, or holds what nobody signed.
        NoBoard, ChainError: See `Connections.lease`.
    """
    network = connections.network
    messages = await connections.key_messages()
    attempts = audit_key(first_session(network), messages, board=connections.board_lane)
    made = made_key(attempts)
    if made is not None and network.group_key not in (None, made.group_key.encode()):
        raise UnprovenKey("the ledger gives another group key than network.json names")
    return attempts


async def held_keys(connections: Connections) -> tuple[HeldKey, ...]:
    """Ask every validator how it stands, one after the other; who does not answer is told of."""
    return tuple([await _held(connections, site) for site in connections.network.validators])


async def _held(connections: Connections, site: ValidatorSite) -> HeldKey:
    try:
        status = await connections.service(site.url).probe("/v1/status")
        keys = status.object("keys")
        return HeldKey(
            index=site.index,
            answers=True,
            attempt=keys.number("attempt"),
            phase=keys.text("phase"),
            waits_for=tuple(int(seat) for seat in keys.items("waits_for")),
            fault=keys.optional("fault", keys.text),
            group_key=keys.optional("group_key", keys.data),
        )
    except (ServiceUnavailable, ServiceAnswer, ValueError, TypeError):
        return HeldKey(index=site.index, answers=False, attempt=0, phase="", waits_for=(), fault=None, group_key=None)
