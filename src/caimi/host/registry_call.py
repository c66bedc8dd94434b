"""Inference asked of the host itself: the same path through the registry, in one call that waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caimi.bundle.unixfs import UnixFsBuilder
from caimi.crypto.ecdsa import verify_signer
from caimi.host.call_errors import HostBusy, NotYetAnswered
from caimi.host.errors import InputMismatch
from caimi.ports.clock import Clock
from caimi.ports.content import ContentStore
from caimi.ports.host_relay import HostRelay
from caimi.ports.host_store import HostStore, RequestRow
from caimi.types.errors import Expired
from caimi.types.primitives import Bytes32
from caimi.types.records import InferenceRequest
from caimi.wire.codec import decode
from caimi.wire.digests import typed_digest

__all__ = ["CallLimits", "RegistryCalls"]

_POLL_S: Final = 0.1
_BUSY_S: Final = 1.0
_LIMIT: Final = 1 << 12


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """How much waits at a time, and how long."""

    calls: int = 16
    longest_wait_s: float = 60.0


class RegistryCalls:
    """Takes signed requests, hands them to the relay and waits for this host's answer."""

    def __init__(
        self,
        network: Bytes32,
        limits: CallLimits,
        *,
        relay: HostRelay,
        content: ContentStore,
        store: HostStore,
        clock: Clock,
    ) -> None:
        self._network = network
        self._limits = limits
        self._relay = relay
        self._content = content
        self._store = store
        self._clock = clock
        self._waiting = 0

    async def infer(self, request: bytes, signature: bytes, sealed_input: bytes | None) -> RequestRow:
        """Bring the input to the content store, the request to its registry, and wait until it is signed or ended.

        Arguments:
            request: the ABI-encoded `InferenceRequest`.
            sealed_input: what lies under the request's CID; None if it is in the content store.
        Raises:
            BadEncoding, BadSignature, HighS, WrongSigner, Expired: Of the request.
            InputMismatch: The sealed input has another CID.
            HostBusy, NotYetAnswered: Of this call.
            Refusal, RelayUnavailable, ContentError: Of the relay and the content store.
        """
        record = decode(InferenceRequest, request, limit=_LIMIT)
        identifier = typed_digest(self._network, record)
        verify_signer(identifier, signature, record.consumer)
        if self._clock.now() > record.deadline:
            raise Expired(record.deadline, self._clock.now())
        if self._waiting >= self._limits.calls:
            raise HostBusy(f"{self._waiting} calls wait", _BUSY_S)
        self._waiting += 1
        try:
            if sealed_input is not None:
                await self._store_input(record, sealed_input)
            await self._relay.request(request, signature)
            return await self._wait(identifier)
        finally:
            self._waiting -= 1

    async def _store_input(self, record: InferenceRequest, sealed: bytes) -> None:
        builder = UnixFsBuilder()
        for _ in builder.blocks([sealed]):
            pass
        if builder.root.cid != record.input:
            raise InputMismatch("the sealed input has another CID than the request names")
        await self._content.upload([sealed])

    async def _wait(self, identifier: Bytes32) -> RequestRow:
        until = self._clock.monotonic() + self._limits.longest_wait_s
        while True:
            row = self._store.request(identifier)
            if row is not None and (row.signed is not None or row.state.is_settled):
                return row
            if self._clock.monotonic() > until:
                state = "not on its registry yet" if row is None else row.state.value
                raise NotYetAnswered(f"0x{identifier.hex()} is {state}")
            await self._clock.sleep(_POLL_S)
