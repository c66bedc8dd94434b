"""A validator's key share as hosts reach it: over a line, and perhaps in bad hands."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from enum import Enum
from typing import Final

from caimi.crypto.capsule import Capsule, seal_key
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.key_share import KeyShare, ThresholdKey
from caimi.crypto.partial import SEALED_PARTIAL_BYTES, Partial, make_partial, seal_partial
from caimi.crypto.secp256k1 import GROUP
from caimi.ports.chain import BoardPort
from caimi.ports.key_release import KeyReleasePort, NoShareYet
from caimi.ports.validators import ValidatorUnavailable
from caimi.simulators.lines import Line
from caimi.types.errors import UnknownLease
from caimi.types.primitives import Bytes32
from caimi.types.records import Lane, LeaseRequest, PartialPost, Publication
from caimi.wire.codec import decode
from caimi.wire.digests import capsule_label, sealed_hash, typed_digest
from caimi.wire.functions import encode_call

__all__ = ["BadKeyHolder", "KeyBehaviour", "UnreliableKeyHolder"]

_LIMIT: Final = 1 << 14


class KeyBehaviour(Enum):
    """What a validator does with its share. In key generation all are honest, as the protocol wants it so far."""

    HONEST = "honest"
    SILENT = "silent"
    """Never answers."""
    GARBAGE = "garbage"
    """Posts bytes that are no partial."""
    OTHER_LABEL = "other label"
    """Posts a partial of a capsule of its own, under another label."""
    OTHER_LEASE = "other lease"
    """Posts a partial of the capsule for another lease."""
    FALSE_POINT = "false point"
    """Posts a signed partial that another secret made."""


class BadKeyHolder:
    """`KeyReleasePort` in bad hands: answers whoever asks, whatever the ledgers say, and never truly."""

    def __init__(
        self,
        behaviour: KeyBehaviour,
        *,
        network: Bytes32,
        key: SigningKey,
        board: BoardPort,
        board_lane: Lane,
        share: Callable[[], KeyShare | None],
        rng: random.Random,
    ) -> None:
        self._behaviour = behaviour
        self._network = network
        self._key = key
        self._board = board
        self._lane = board_lane
        self._share = share
        self._rng = rng

    async def public_key(self) -> ThresholdKey:
        """Another key, which is consistent in itself."""
        if self._behaviour is KeyBehaviour.SILENT:
            raise ValidatorUnavailable("silent")
        key = self._held().public
        return dataclasses.replace(
            key,
            group_key=GROUP.add(key.group_key, key.group_key),
            verification_keys=tuple(GROUP.add(point, point) for point in key.verification_keys),
        )

    async def release(self, lease: Bytes32, publication: bytes, capsule: bytes) -> None:
        """Post something for the lease."""
        if self._behaviour is KeyBehaviour.SILENT:
            raise ValidatorUnavailable("silent")
        record = await self._board.lease(lease)
        if record is None:
            raise UnknownLease(lease)
        sealed = self._sealed(lease, record, decode(Publication, publication, limit=_LIMIT), capsule)
        index = self._held().index
        post = PartialPost(at=self._lane, lease=lease, index=index, sealed_hash=sealed_hash(sealed))
        signature = self._key.sign(typed_digest(self._network, post)).to_bytes()
        await self._board.post_partial(encode_call("postPartial", post, signature), sealed)

    def _sealed(self, lease: Bytes32, record: LeaseRequest, publication: Publication, capsule: bytes) -> bytes:
        if self._behaviour is KeyBehaviour.GARBAGE:
            return self._rng.randbytes(SEALED_PARTIAL_BYTES)
        share = self._held()
        label = capsule_label(self._network, share.group_key.encode(), publication)
        given = Capsule.from_bytes(capsule)
        if self._behaviour is KeyBehaviour.OTHER_LABEL:
            label = Bytes32(self._rng.randbytes(32))
            given = seal_key(share.group_key, label=label, data_key=self._rng.randbytes(32), entropy=self._fresh())
        if self._behaviour is KeyBehaviour.FALSE_POINT:
            share = dataclasses.replace(share, share=GROUP.secret_of(1 + self._rng.getrandbits(128)))
        partial = self._partial(share, given, label, lease)
        if self._behaviour is KeyBehaviour.OTHER_LEASE:
            other = self._partial(share, given, label, self._fresh())
            partial = dataclasses.replace(other, lease=lease)
        return seal_partial(partial, recipient=record.sealing_key)

    def _partial(self, share: KeyShare, capsule: Capsule, label: Bytes32, lease: Bytes32) -> Partial:
        return make_partial(
            share, signing_key=self._key, capsule=capsule, label=label, lease=lease, entropy=self._fresh()
        )

    def _fresh(self) -> Bytes32:
        return Bytes32(self._rng.randbytes(32))

    def _held(self) -> KeyShare:
        share = self._share()
        if share is None:
            raise NoShareYet("it has no share")
        return share


class UnreliableKeyHolder:
    """A `KeyReleasePort` behind a line."""

    def __init__(self, port: KeyReleasePort, line: Line, *, heard: Callable[[bytes], None]) -> None:
        """Arguments:
        heard: told of all bytes that go over the line.
        """
        self._port = port
        self._line = line
        self._heard = heard

    async def public_key(self) -> ThresholdKey:
        """See `KeyReleasePort.public_key`."""
        key = await self._line.ask(self._port.public_key)
        self._heard(key.to_bytes())
        return key

    async def release(self, lease: Bytes32, publication: bytes, capsule: bytes) -> None:
        """See `KeyReleasePort.release`."""
        self._heard(lease + publication + capsule)
        await self._line.ask(lambda: self._port.release(lease, publication, capsule))
