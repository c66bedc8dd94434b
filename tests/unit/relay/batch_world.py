"""Batches in the small world: made, signed, brought to a relay, and looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caimi.protocol.publication import State
from caimi.protocol.taking_out import state_in
from caimi.relay.batch_calls import batch_proof
from caimi.relay.batch_intake import AcceptedBatch
from caimi.types.primitives import Bytes32, PublicationId, UnixSeconds
from caimi.types.records import BatchProof, Lane, Publication
from caimi.wire.codec import encode_values
from caimi.wire.functions import FUNCTIONS
from caimi.wire.keccak import keccak256
from tests.unit.relay.world import World

__all__ = ["SignedBatch", "sign_batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBatch:
    """Publications with their signatures and ids."""

    world: World
    publications: tuple[Publication, ...]
    signatures: tuple[bytes, ...]
    ids: tuple[PublicationId, ...]

    @property
    def encoded(self) -> bytes:
        return encode_values(FUNCTIONS["lockBatch"], (self.publications, self.signatures))

    def proof(self, root: Bytes32, index: int) -> BatchProof:
        return batch_proof(self.publications[0].home, root, self.ids, index)

    async def bring(self, relay: int = 0) -> AcceptedBatch:
        return await self.world.relays[relay].batches.publish(self.encoded)

    def states(self, name: str, root: Bytes32) -> list[State]:
        """What a ledger's tip says of each."""
        state = self.world.ledgers[name].tip.registry.state
        if (self.publications[0].home, root) not in state.batches:
            return [State.NONE] * len(self.ids)
        return [state_in(state, i, self.proof(root, n))[1] for n, i in enumerate(self.ids)]

    def all_at(self, expected: State, root: Bytes32) -> bool:
        return all(state is expected for name in self.world.ledgers for state in self.states(name, root))


def sign_batch(
    world: World,
    home: str,
    /,
    *mirrors: str | Lane,
    count: int = 3,
    deadlines: Sequence[int] = (),
    label: str = "model",
    **fields: Any,
) -> SignedBatch:
    """`count` publications; `deadlines` are those of the first ones, as seconds from now."""
    signed: list[tuple[Publication, bytes, PublicationId]] = []
    for number in range(count):
        own: dict[str, Any] = {"name": f"{label}-{number}", "nonce": keccak256(f"{label} {number}".encode())} | fields
        if number < len(deadlines):
            own["deadline"] = UnixSeconds(world.clock.now() + deadlines[number])
        signed.append(world.publication(home, *mirrors, **own))
    return SignedBatch(
        world=world,
        publications=tuple(p for p, _, _ in signed),
        signatures=tuple(s for _, s, _ in signed),
        ids=tuple(i for _, _, i in signed),
    )
