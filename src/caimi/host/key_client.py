"""Getting a model's key: t validators' partials through the board, opened and combined here only (spec 60 §2)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from caimi.crypto.errors import CryptoError, NotEnoughPartials, PartialRefused, SealNotOpened
from caimi.crypto.key_share import ThresholdKey
from caimi.crypto.partial import Combined, Partial, combine, open_partial
from caimi.crypto.quorum import ValidatorSet
from caimi.host.errors import KeyNotReleased, KeyRefused, NoGroupKey
from caimi.host.identity import HostIdentity
from caimi.host.leases import Lease
from caimi.host.publications import KnownPublication
from caimi.ports.chain import BoardPort
from caimi.ports.clock import Clock
from caimi.ports.key_release import KeyReleasePort
from caimi.ports.observer import Observer
from caimi.ports.validators import ValidatorUnavailable
from caimi.types.errors import CaimiError, Retry
from caimi.types.primitives import Bytes32
from caimi.wire.digests import capsule_label

__all__ = ["KeyClient"]

T = TypeVar("T")
_PAUSE_S: Final = 0.2
_ANSWER_S: Final = 10.0
# How long one question is waited for. One that got lost is asked again while the others' answers still count.


class KeyClient:
    """Asks the validators of one epoch."""

    def __init__(
        self,
        identity: HostIdentity,
        *,
        validators: ValidatorSet,
        ports: Mapping[int, KeyReleasePort],
        board: BoardPort,
        clock: Clock,
        observer: Observer,
        patience_s: float = 30.0,
    ) -> None:
        """Arguments:
        ports: the validators by share index.
        patience_s: how long partials are waited for.
        """
        self._identity = identity
        self._validators = validators
        self._ports = dict(ports)
        self._board = board
        self._clock = clock
        self._observer = observer
        self._patience_s = patience_s
        self._key: ThresholdKey | None = None

    async def public_key(self) -> ThresholdKey:
        """The epoch's public key, as soon as q validators report the same one; nobody is waited for longer.

        Raises:
            NoGroupKey: Fewer do, of those that answer in time.
        """
        if self._key is None:
            encoded, count = await self._most_reported()
            if count < self._validators.q:
                raise NoGroupKey(f"{count} of {self._validators.q} validators agree")
            key = ThresholdKey.from_bytes(encoded)
            fits = (key.epoch, key.n, key.threshold)
            if fits != (self._identity.key.epoch, self._validators.n, self._validators.t):
                raise NoGroupKey(f"the key is of epoch {key.epoch} with {key.threshold} of {key.n}")
            self._key = key
        return self._key

    async def _most_reported(self) -> tuple[bytes, int]:
        reported: Counter[bytes] = Counter()

        async def ask(port: KeyReleasePort) -> None:
            with suppress(CaimiError):
                reported[(await _in_time(port.public_key())).to_bytes()] += 1

        waiting = {asyncio.create_task(ask(port)) for port in self._ports.values()}
        try:
            while waiting and max(reported.values(), default=0) < self._validators.q:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return reported.most_common(1)[0] if reported else (b"", 0)

    async def fetch(self, lease: Lease, publication: KnownPublication) -> Combined:
        """Ask all validators and combine as soon as t partials are sound. Names whose were not.

        Raises:
            NoGroupKey, KeyNotReleased: Ask again later.
            KeyRefused: So many refuse that t partials cannot come.
            InvalidCapsule, WrongKeyCommitment: The publisher's capsule is not sound.
            ChainUnavailable: The board does not answer.
        """
        key = await self.public_key()
        label = capsule_label(self._identity.network, key.group_key.encode(), publication.record)
        told: dict[int, str] = {}
        refusing: set[int] = set()
        asking = [
            asyncio.create_task(self._ask(index, port, lease, publication, told, refusing))
            for index, port in self._ports.items()
        ]
        until = self._clock.monotonic() + self._patience_s
        try:
            while True:
                sealed = await self._board.partials(lease.id)
                try:
                    return self._combine(sealed, lease.id, publication, label, key, told)
                except NotEnoughPartials as error:
                    for fault in error.faults:
                        self._blame(fault.index, fault, told)
                if key.n - len(refusing) < key.threshold:
                    raise KeyRefused(f"{len(refusing)} of {key.n} validators refuse", told)
                if self._clock.monotonic() > until:
                    raise KeyNotReleased(f"fewer than {key.threshold} partials in {self._patience_s:.0f} s", told)
                await self._pause(asking)
        finally:
            for task in asking:
                task.cancel()
            # What a validator says after this changes nothing; programming errors among it must not be lost.
            for outcome in await asyncio.gather(*asking, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome

    async def _pause(self, asking: Sequence[asyncio.Task[None]]) -> None:
        # Until the next validator says that its partial is on the board; others' may come to be seen meanwhile.
        pause = asyncio.ensure_future(self._clock.sleep(_PAUSE_S))
        try:
            await asyncio.wait({pause, *(t for t in asking if not t.done())}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            await asyncio.gather(pause, return_exceptions=True)

    async def _ask(
        self,
        index: int,
        port: KeyReleasePort,
        lease: Lease,
        publication: KnownPublication,
        told: dict[int, str],
        refusing: set[int],
    ) -> None:
        while True:
            try:
                await _in_time(port.release(lease.id, publication.encoded, publication.capsule.to_bytes()))
                return
            except CaimiError as error:
                told[index] = f"{type(error).__name__}: {error}"
                self._observer.step("host.release_refused", index=index, lease="0x" + lease.id.hex(), cause=told[index])
                if error.retry is not Retry.SAFE:
                    refusing.add(index)
                    return
            await self._clock.sleep(_PAUSE_S)

    def _combine(
        self,
        sealed: Sequence[bytes],
        lease: Bytes32,
        publication: KnownPublication,
        label: Bytes32,
        key: ThresholdKey,
        told: dict[int, str],
    ) -> Combined:
        partials: list[Partial] = []
        for index, one in enumerate(sealed, start=1):
            if not one:
                continue
            try:
                partials.append(
                    open_partial(one, key=self._identity.sealing, lease=lease, index=index, epoch=key.epoch)
                )
            except (SealNotOpened, PartialRefused) as error:
                self._blame(index, error, told)
        combined = combine(
            partials, capsule=publication.capsule, label=label, lease=lease, key=key, validators=self._validators
        )
        for fault in combined.faults:
            self._blame(fault.index, fault, told)
        self._observer.step(
            "host.combined", lease="0x" + lease.hex(), used=",".join(str(index) for index in combined.used)
        )
        return combined

    def _blame(self, index: int, error: CryptoError, told: dict[int, str]) -> None:
        text = f"{type(error).__name__}: {error}"
        if told.get(index) != text:
            told[index] = text
            self._observer.step(
                "host.bad_partial", index=index, error=type(error).__name__, certainty=error.certainty.value
            )


async def _in_time(answer: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(_ANSWER_S):
            return await answer
    except TimeoutError as error:
        raise ValidatorUnavailable(f"no answer within {_ANSWER_S:.0f} s") from error
