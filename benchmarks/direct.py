"""Direct calls for measuring: one consumer with one session, bodies made ahead, replies opened and checked."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

from benchmarks.devnet import BenchDevnet, fresh_account
from caimi.bundle.tensors import Tensor, decode_tensors
from caimi.crypto.direct_seal import DirectSession, begin_session, open_direct_output, seal_direct_input
from caimi.crypto.ecdsa import SigningKey, verify_signer
from caimi.crypto.inference_seal import Salted, input_commitment
from caimi.sdk.inference import fetch_host_key
from caimi.types.primitives import Address, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import DirectRequest
from caimi.wire.digests import typed_digest
from caimi.wire.direct_body import DirectCall, DirectReply

__all__ = ["Call", "DirectCaller"]

_AHEAD_S: Final = 58
_MAX_OUTPUT: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, ready to be sent."""

    request: Bytes32
    """Its id."""
    wire: bytes
    """The whole HTTP/1.1 request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectCaller:
    """One account that asks one publication."""

    network: Bytes32
    host: str
    port: int
    publication: PublicationId
    account: SigningKey
    signer: Address
    """The host's."""
    session: DirectSession = field(repr=False)
    sealed: bytes

    @classmethod
    async def begin(cls, devnet: BenchDevnet, publication: PublicationId) -> Self:
        """A session with the host of this moment."""
        key, _ = await fetch_host_key(devnet.connections)
        session, sealed = begin_session(Bytes32(os.urandom(32)), host=key.sealing_key, network=devnet.network.id)
        place = urlsplit(devnet.network.host_url or "")
        return cls(
            network=devnet.network.id,
            host=place.hostname or "",
            port=place.port or 80,
            publication=publication,
            account=fresh_account(),
            signer=key.signing_key,
            session=session,
            sealed=sealed,
        )

    def call(self, payload: bytes) -> Call:
        """A signed and sealed call that counts for the next minute.

        Arguments:
            payload: the inputs as safetensors bytes.
        """
        salted = Salted(salt=Bytes32(os.urandom(32)), payload=payload)
        record = DirectRequest(
            publication=self.publication,
            consumer=self.account.address,
            host=self.signer,
            session=self.session.id,
            input_commitment=input_commitment(salted),
            nonce=Bytes32(os.urandom(32)),
            deadline=UnixSeconds(int(time.time()) + _AHEAD_S),
        )
        identifier = typed_digest(self.network, record)
        body = DirectCall(
            request=record,
            signature=self.account.sign(identifier).to_bytes(),
            session=self.sealed,
            sealed_input=seal_direct_input(salted, session=self.session, request=identifier),
        ).to_bytes()
        head = (
            f"POST /v1/models/0x{self.publication.hex()}/infer HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return Call(request=identifier, wire=head.encode() + body)

    def open(self, call: Call, body: bytes) -> dict[str, Tensor]:
        """The outputs of a reply whose receipt this host has signed for this call.

        Raises:
            CaimiError, ValueError: It is not such a reply.
        """
        reply = DirectReply.from_bytes(body)
        verify_signer(typed_digest(self.network, reply.receipt), reply.signature, self.signer)
        if reply.receipt.request != call.request:
            raise ValueError("a receipt of another request")
        commitment = reply.receipt.output_commitment
        opened = open_direct_output(
            reply.sealed_output, session=self.session, request=call.request, commitment=commitment
        )
        return decode_tensors(opened.payload, max_bytes=_MAX_OUTPUT)
