"""A consumer of direct calls, and a server that runs nothing by itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from caimi.bundle.tensors import decode_tensors
from caimi.crypto.direct_seal import begin_session, open_direct_output, seal_direct_input
from caimi.crypto.ecdsa import SigningKey, verify_signer
from caimi.crypto.inference_seal import Salted, input_commitment
from caimi.host.identity import HostIdentity
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import DirectRequest, Receipt
from caimi.wire.digests import typed_digest
from caimi.wire.direct_body import DirectCall, DirectReply
from caimi.wire.keccak import keccak256
from tests.unit.host.host_world import tensors
from tests.unit.relay.world import key

__all__ = ["Consumer", "Sent"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A call and its request's id."""

    call: DirectCall
    id: Bytes32

    @property
    def body(self) -> bytes:
        """What is posted."""
        return self.call.to_bytes()


class Consumer:
    """One account with one session at one start of a host."""

    def __init__(self, identity: HostIdentity, name: str = "consumer") -> None:
        self._identity = identity
        self.account: SigningKey = key(name)
        self.session, self.sealed = begin_session(
            keccak256(name.encode()), host=identity.key.sealing_key, network=identity.network
        )
        self._count = 0

    def call(
        self, publication: Bytes32, values: Any, deadline: int, *, payload: bytes | None = None, **fields: Any
    ) -> Sent:
        """A signed call; `fields` are changed before it is signed."""
        self._count += 1
        seed = self.account.address + self._count.to_bytes(4, "big")
        salted = Salted(salt=keccak256(b"salt" + seed), payload=tensors(values) if payload is None else payload)
        record = DirectRequest(
            publication=publication,
            consumer=self.account.address,
            host=self._identity.key.signing_key,
            session=self.session.id,
            input_commitment=input_commitment(salted),
            nonce=keccak256(b"nonce" + seed),
            deadline=UnixSeconds(deadline),
        )
        record = dataclasses.replace(record, **fields)
        identifier = typed_digest(self._identity.network, record)
        call = DirectCall(
            request=record,
            signature=self.account.sign(identifier).to_bytes(),
            session=self.sealed,
            sealed_input=seal_direct_input(salted, session=self.session, request=identifier),
        )
        return Sent(call=call, id=identifier)

    def open(self, sent: Sent, body: bytes) -> tuple[np.ndarray[Any, Any], Receipt]:
        """The output y and the receipt, whose signature and links are checked."""
        reply = DirectReply.from_bytes(body)
        receipt = reply.receipt
        verify_signer(typed_digest(self._identity.network, receipt), reply.signature, self._identity.key.signing_key)
        assert receipt.request == sent.id
        assert receipt.publication == sent.call.request.publication
        assert receipt.input_commitment == sent.call.request.input_commitment
        opened = open_direct_output(
            reply.sealed_output, session=self.session, request=sent.id, commitment=receipt.output_commitment
        )
        return decode_tensors(opened.payload, max_bytes=1 << 20)["y"].array(), receipt
