"""An attacker with the keys of all bad validators: it signs what never happened and brings it to the registries."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from caimi.crypto.ecdsa import SigningKey
from caimi.protocol.publication import AbortReason, Role, State
from caimi.protocol.registry_state import RegistryState
from caimi.simulators.chain import SimulatedChain
from caimi.types.errors import CaimiError
from caimi.types.primitives import Bytes32, Epoch, Generation, PublicationId, SignerIndex
from caimi.types.primitives import Sequence as Number
from caimi.types.records import Certificate, Checkpoint, Event, Item, Kind, Lane
from caimi.wire.digests import leaf_hash, typed_digest
from caimi.wire.functions import encode_body, encode_call
from caimi.wire.keccak import keccak256
from caimi.wire.merkle import merkle_root

__all__ = ["Forger"]

_FAR = 500_000
# Sequence numbers that no true event of a simulation reaches, so that no mark hides a forgery.


class Forger:
    """Holds at most f keys; succeeds exactly if f signatures suffice."""

    def __init__(self, network: Bytes32, keys: Mapping[int, SigningKey], *, rng: random.Random) -> None:
        self._network = network
        self._keys = keys
        self._rng = rng
        self._number = _FAR

    async def attack(
        self, port: SimulatedChain, state: RegistryState, everywhere: Sequence[RegistryState]
    ) -> list[str]:
        """Try to turn every LOCKED publication of one registry; what the registry answers."""
        answers: list[str] = []
        for identifier, record in list(state.publications.items()):
            if record.state is not State.LOCKED:
                continue
            event, source = self._lie(identifier, record.role, record.home, record.mirrors, state.config.lane)
            if not any(s.config.lane == source for s in everywhere):
                continue
            answers.append(await self._deliver(port, state, event, source))
        return answers

    def _lie(
        self, identifier: PublicationId, role: Role, home: Lane, mirrors: tuple[Lane, ...], here: Lane
    ) -> tuple[Event, Lane]:
        if role is Role.HOME:
            kind, body, source = Kind.LOCKED, encode_body(Kind.LOCKED, Role.MIRROR, here), mirrors[0]
        else:
            outcome = self._rng.choice((State.COMMITTED, State.ABORTED))
            kind, body, source = Kind.OUTCOME, encode_body(Kind.OUTCOME, outcome, AbortReason.NONE), home
        return Event(schema=1, kind=kind, destinations=(here,), subject=identifier, body=body), source

    async def _deliver(self, port: SimulatedChain, state: RegistryState, event: Event, source: Lane) -> str:
        self._number += 1
        item = Item(sequence=Number(self._number), event=event)
        checkpoint = Checkpoint(
            source=source,
            generation=Generation(1),
            epoch=Epoch(1),
            first_sequence=item.sequence,
            last_sequence=item.sequence,
            root=merkle_root([leaf_hash(source, item)]),
            height=1,
            block_hash=keccak256(b"a block that never was"),
        )
        digest = typed_digest(self._network, checkpoint)
        signers = sorted(self._keys)
        own = [self._keys[i].sign(digest).as_record(SignerIndex(i)) for i in signers]
        q = state.epochs.present.validators.q
        signatures = own[:q] if len(own) >= q else [*own, *own, *own][:q]
        certificate = Certificate(checkpoint=checkpoint, signatures=tuple(signatures))
        try:
            await port.send(await port.prepare(encode_call("applyRun", certificate, (item,), ()), slot=None))
        except CaimiError as error:
            return type(error).__name__
        return "ACCEPTED"
