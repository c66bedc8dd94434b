"""What surrounds the production code in a simulation: entropy, observer, processes that are killed, bad validators."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any

from caimi.crypto.ecdsa import SigningKey
from caimi.ports.validators import ValidatorPort, ValidatorUnavailable
from caimi.types.primitives import Bytes32, Generation, Sequence, SignerIndex
from caimi.types.records import Checkpoint, Lane, Signature
from caimi.wire.digests import typed_digest
from caimi.wire.keccak import keccak256

__all__ = ["Behaviour", "Crashed", "KillSwitch", "Process", "SeededEntropy", "Trace", "UnreliableValidator"]


class SeededEntropy:
    """The `Entropy` port, the same bytes for the same name."""

    def __init__(self, name: str) -> None:
        self._state = keccak256(name.encode())

    def take(self, length: int) -> bytes:
        """`length` bytes."""
        taken = b""
        while len(taken) < length:
            self._state = keccak256(self._state)
            taken += self._state
        return taken[:length]


class Trace:
    """The `Observer` port that writes everything down with its virtual time."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """One line."""
        self.lines.append(f"{asyncio.get_running_loop().time():.3f} {text}")

    def step(self, name: str, **fields: str | int | float | None) -> None:
        """See `Observer.step`."""
        self.note(name + "".join(f" {k}={v}" for k, v in sorted(fields.items())))

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Numbers are not part of a trace."""

    def count(self, name: str, **labels: str) -> None:
        """Counters are not part of a trace."""

    def digest(self) -> str:
        """Hash of the whole trace."""
        return keccak256("\n".join(self.lines).encode()).hex()


class Crashed(BaseException):
    """The process was killed right after a persisted step."""


class KillSwitch:
    """`CrashPoints` that kill at the next persisted step once they are armed."""

    def __init__(self) -> None:
        self.armed = False

    def reached(self, step: str) -> None:
        """Kill if armed."""
        if self.armed:
            self.armed = False
            raise Crashed(step)


class Process:
    """One process: started, killed at a persisted step or in between, started again from its store."""

    def __init__(
        self, name: str, start: Callable[[], Coroutine[Any, Any, None]], switch: KillSwitch, trace: Trace
    ) -> None:
        self._name = name
        self._start = start
        self._switch = switch
        self._trace = trace
        self._task: asyncio.Task[None] | None = None
        self.pause = 1.0

    async def run(self) -> None:
        """Keep it running for ever."""
        while True:
            self._task = asyncio.ensure_future(self._start())
            # Whatever ended it, its supervisor starts it again.
            (ended,) = await asyncio.gather(self._task, return_exceptions=True)
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise asyncio.CancelledError
            self._trace.note(f"{self._name} ended: {type(ended).__name__}")
            await asyncio.sleep(self.pause)

    def kill(self, *, at_step: bool, pause: float) -> None:
        """Kill now, or at the next persisted step; start again after `pause` seconds."""
        self.pause = pause
        if at_step:
            self._switch.armed = True
        elif self._task is not None:
            self._task.cancel()


class Behaviour(Enum):
    """What a validator does."""

    HONEST = "honest"
    SILENT = "silent"
    """Never answers."""
    LIAR = "liar"
    """Signs another root than the true one, when it likes."""
    OTHER_KEY = "other key"
    """Signs with a key that is not in the set."""


class UnreliableValidator:
    """A `ValidatorPort` behind a network that loses, delays and doubles, and perhaps a bad validator behind that."""

    def __init__(
        self,
        port: ValidatorPort,
        *,
        signer: SignerIndex,
        key: SigningKey,
        network: Bytes32,
        behaviour: Behaviour,
        rng: random.Random,
    ) -> None:
        self.port = port
        self.behaviour = behaviour
        self.loss = 0.0
        self.delay = 0.0
        self.killed: Callable[[], None] = _nothing
        """Told when the validator was killed while it answered."""
        self._signer = signer
        self._key = key
        self._network = network
        self._rng = rng

    async def checkpoint(
        self, source: Lane, generation: Generation, first: Sequence, last: Sequence
    ) -> tuple[Checkpoint, Signature]:
        """See `ValidatorPort.checkpoint`."""
        if self.delay > 0:
            await asyncio.sleep(self._rng.uniform(0.0, self.delay))
        if self.behaviour is Behaviour.SILENT or self._rng.random() < self.loss:
            await asyncio.sleep(self._rng.choice((0.0, 60.0)))
            raise ValidatorUnavailable("lost")
        try:
            if self._rng.random() < self.loss:
                # Asked twice: the answer has to be the same.
                await self.port.checkpoint(source, generation, first, last)
            checkpoint, signature = await self.port.checkpoint(source, generation, first, last)
        except Crashed as crash:
            # The validator's process ended, not the asker's.
            self.killed()
            raise ValidatorUnavailable("its process was killed") from crash
        if self.behaviour is Behaviour.LIAR and self._rng.random() < 0.7:
            false = dataclasses.replace(checkpoint, root=keccak256(self._rng.randbytes(8)))
            return false, self._key.sign(typed_digest(self._network, false)).as_record(self._signer)
        if self.behaviour is Behaviour.OTHER_KEY:
            stranger = SigningKey(keccak256(b"a key outside the set"))
            return checkpoint, stranger.sign(typed_digest(self._network, checkpoint)).as_record(self._signer)
        return checkpoint, signature


def _nothing() -> None:
    pass
