"""Publications as their ledgers show them: listed, found by name, with their state on every lane."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caimi.protocol.publication import State
from caimi.sdk.batches import proof_of, state_of
from caimi.sdk.connections import Connections
from caimi.sdk.errors import UnknownName
from caimi.sdk.json_fields import Fields, hex_text
from caimi.sdk.tracing import UNKNOWN
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Address, PublicationId
from caimi.types.records import BatchProof, Publication
from caimi.wire.codec import decode

__all__ = ["Model", "find_model", "list_models", "model_of", "read_states", "states_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One publication in a list."""

    id: PublicationId
    name: str
    version: int
    publisher: Address
    home: str
    mirrors: tuple[str, ...]
    states: Mapping[str, str]
    deposit: int

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "id": hex_text(self.id),
            "name": self.name,
            "version": self.version,
            "publisher": hex_text(self.publisher),
            "home": self.home,
            "mirrors": list(self.mirrors),
            "states": dict(self.states),
            "deposit": str(self.deposit),
        }


async def read_states(
    connections: Connections, identifier: PublicationId, lanes: tuple[str, ...], proof: BatchProof | None = None
) -> dict[str, str]:
    """A publication's state at the tip of each lane, asked of the ledgers themselves; UNKNOWN for foreign lanes.

    Arguments:
        proof: where it is in its batch, if it is in one.

    Raises:
        ChainError: Of a ledger.
    """

    async def one(name: str) -> str:
        if name not in connections.network.lanes:
            return UNKNOWN
        return (await state_of(connections, identifier, proof, name)).name

    found = await asyncio.gather(*(one(name) for name in lanes))
    return dict(zip(lanes, found, strict=True))


async def states_of(connections: Connections, identifier: PublicationId, lanes: tuple[str, ...]) -> dict[str, str]:
    """As `read_states`, of a publication that may be in a batch that the relay knows.

    Raises:
        ServiceUnavailable, ServiceAnswer, ChainError: Of the relay or a ledger.
    """
    try:
        proof = proof_of(connections, await connections.relay.get(f"/v1/publications/{hex_text(identifier)}"))
    except UnknownName:
        proof = None
    return await read_states(connections, identifier, lanes, proof)


async def list_models(connections: Connections, *, limit: int) -> tuple[Model, ...]:
    """The newest publications that the relay watches, as their ledgers show them.

    Raises:
        ServiceUnavailable, ServiceAnswer, ChainError: Of the relay or a ledger.
    """
    rows = await connections.relay.get_list("/v1/publications", limit=str(limit))
    models = await asyncio.gather(*(_listed(connections, row) for row in rows if row.text("watched") != "batch"))
    return tuple(model for model in models if model is not None)


async def model_of(connections: Connections, identifier: PublicationId) -> Model:
    """One publication, as its ledgers show it.

    Raises:
        UnknownName: The relay does not know it, or its home has it not yet.
        ServiceUnavailable, ServiceAnswer, ChainError: Of the relay or a ledger.
    """
    try:
        row = await connections.relay.get(f"/v1/publications/{hex_text(identifier)}")
    except UnknownName:
        raise UnknownName(f"the relay knows no publication {hex_text(identifier)}") from None
    model = await _model(connections, row, proof_of(connections, row))
    if model is None:
        raise UnknownName(f"{row.text('home')} has no publication {hex_text(identifier)} yet")
    return model


def find_model(models: Sequence[Model], text: str) -> Model:
    """The one that a text names: `name@version`, or a name, of which the highest committed version counts.

    Of several with one name and version, the one that home has locked counts: the others never took the name.

    Raises:
        UnknownName: None, or those of several publishers.
    """
    name, separator, version = text.partition("@")
    named = [model for model in models if model.name == name and (not separator or str(model.version) == version)]
    committed = [model for model in named if model.states[model.home] == State.COMMITTED.name]
    if not named:
        raise UnknownName(f"there is no publication {text!r}")
    if not separator and not committed:
        states = ", ".join(sorted({f"{m.name}@{m.version} {m.states[m.home]}" for m in named}))
        raise UnknownName(f"no version of {text!r} is committed: {states}"[:400])
    found = committed or named
    if len({model.publisher for model in found}) > 1:
        raise UnknownName(f"{text!r} is a name of {len(found)} publications of several publishers: name it by its id")
    return max(found, key=lambda model: (model.version, model.states[model.home] != State.ABORTED.name))


async def _listed(connections: Connections, row: Fields) -> Model | None:
    # The list is short: where a publication is in its batch is told of each alone.
    if row.optional("batch", row.text) is None:
        return await _model(connections, row, None)
    whole = await connections.relay.get(f"/v1/publications/{row.text('id')}")
    return await _model(connections, whole, proof_of(connections, whole))


async def _model(connections: Connections, row: Fields, proof: BatchProof | None) -> Model | None:
    identifier, home, mirrors = PublicationId(row.bytes32("id")), row.text("home"), row.texts("mirrors")
    view = await connections.reader(home).publication(identifier)
    states = await read_states(connections, identifier, (home, *mirrors), proof)
    if view is None:
        # Accepted by the relay a moment ago, so that no ledger has it yet; or in a batch.
        return None if states[home] == State.NONE.name else _in_batch(row, identifier, states)
    return Model(
        id=identifier,
        name=view.name,
        version=view.version,
        publisher=view.publisher,
        home=home,
        mirrors=mirrors,
        states=states,
        deposit=view.deposit,
    )


def _in_batch(row: Fields, identifier: PublicationId, states: Mapping[str, str]) -> Model:
    try:
        record = decode(Publication, row.data("publication"))
    except BadEncoding as error:
        raise row.malformed("publication") from error
    home = row.text("home")
    held = record.deposit if states[home] in (State.LOCKED.name, State.COMMITTED.name) else 0
    return Model(
        id=identifier,
        name=record.name,
        version=record.version,
        publisher=record.publisher,
        home=home,
        mirrors=row.texts("mirrors"),
        states=states,
        deposit=held,
    )
