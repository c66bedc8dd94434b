"""Publications by id, as a relay gives them and only if they hash to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caimi.crypto.capsule import Capsule, capsule_hash
from caimi.host.errors import NotAModel, WrongPublication
from caimi.ports.host_relay import HostRelay
from caimi.ports.key_release import ForeignCapsule
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Bytes32
from caimi.types.records import Publication, PublicationKind
from caimi.wire.codec import decode
from caimi.wire.digests import publication_id

__all__ = ["KnownPublication", "Publications"]

_MOST: Final = 1024
_LIMIT: Final = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPublication:
    """Signed bytes and capsule that belong to the id."""

    id: Bytes32
    record: Publication
    encoded: bytes
    capsule: Capsule


class Publications:
    """Asks the relay once for each."""

    def __init__(self, network: Bytes32, relay: HostRelay) -> None:
        self._network = network
        self._relay = relay
        self._known: dict[Bytes32, KnownPublication] = {}

    async def get(self, identifier: Bytes32) -> KnownPublication:
        """The publication of that id.

        Raises:
            PublicationUnknown, RelayUnavailable: Ask again later.
            WrongPublication, ForeignCapsule, MalformedCapsule: The relay gives something else.
            NotAModel: It is no model.
        """
        known = self._known.get(identifier)
        if known is None:
            known = await self._ask(identifier)
            if len(self._known) >= _MOST:
                self._known.pop(next(iter(self._known)))
            self._known[identifier] = known
        return known

    async def _ask(self, identifier: Bytes32) -> KnownPublication:
        given = await self._relay.publication(identifier)
        try:
            record = decode(Publication, given.publication, limit=_LIMIT)
        except BadEncoding as error:
            raise WrongPublication("the bytes are no publication") from error
        if publication_id(self._network, record) != identifier:
            raise WrongPublication("0x" + publication_id(self._network, record).hex())
        capsule = Capsule.from_bytes(given.capsule)
        if capsule_hash(capsule) != record.capsule_hash:
            raise ForeignCapsule("0x" + capsule_hash(capsule).hex())
        if record.kind != PublicationKind.MODEL:
            raise NotAModel("0x" + identifier.hex())
        return KnownPublication(id=identifier, record=record, encoded=given.publication, capsule=capsule)
