"""A validator as relays reach it: over a line, and perhaps bad."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable
from enum import Enum

from caimi.crypto.ecdsa import SigningKey
from caimi.ports.validators import ValidatorPort, ValidatorUnavailable
from caimi.simulators.lines import Line
from caimi.simulators.processes import Process
from caimi.types.primitives import Bytes32, Generation, Sequence, SignerIndex
from caimi.types.records import Checkpoint, Lane, Signature
from caimi.wire.digests import typed_digest
from caimi.wire.keccak import keccak256

__all__ = ["Behaviour", "UnreliableValidator"]


class Behaviour(Enum):
    """What a validator does when it is asked for a signature."""

    HONEST = "honest"
    SILENT = "silent"
    """Never answers."""
    LIAR = "liar"
    """Signs another root than the true one, when it likes."""
    OTHER_KEY = "other key"
    """Signs with a key that is not in the set."""


class UnreliableValidator:
    """A `ValidatorPort` behind a line, and perhaps a bad validator behind that."""

    def __init__(
        self,
        port: Callable[[], ValidatorPort],
        *,
        process: Process,
        line: Line,
        signer: SignerIndex,
        key: SigningKey,
        network: Bytes32,
        behaviour: Behaviour,
        rng: random.Random,
    ) -> None:
        """Arguments:
        port: gives the present start's production code; asked only while the process runs.
        """
        self.behaviour = behaviour
        self._port = port
        self._process = process
        self._line = line
        self._signer = signer
        self._key = key
        self._network = network
        self._rng = rng

    async def checkpoint(
        self, source: Lane, generation: Generation, first: Sequence, last: Sequence
    ) -> tuple[Checkpoint, Signature]:
        """See `ValidatorPort.checkpoint`."""

        async def ask() -> tuple[Checkpoint, Signature]:
            return await self._process.answer(lambda: self._port().checkpoint(source, generation, first, last))

        if self.behaviour is Behaviour.SILENT:
            await asyncio.sleep(self._rng.choice((0.0, 60.0)))
            raise ValidatorUnavailable("silent")
        checkpoint, signature = await self._line.ask(ask)
        if self.behaviour is Behaviour.LIAR and self._rng.random() < 0.7:
            false = dataclasses.replace(checkpoint, root=keccak256(self._rng.randbytes(8)))
            return false, self._key.sign(typed_digest(self._network, false)).as_record(self._signer)
        if self.behaviour is Behaviour.OTHER_KEY:
            stranger = SigningKey(keccak256(b"a key outside the set"))
            return checkpoint, stranger.sign(typed_digest(self._network, checkpoint)).as_record(self._signer)
        return checkpoint, signature
