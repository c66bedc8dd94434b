"""One request from sealed input to signed answer (spec 60 §4, §5)."""

from __future__ import annotations

from dataclasses import dataclass

from caimi.bundle.manifest import Manifest
from caimi.bundle.tensors import TensorsRefused, check_finite, check_tensors, decode_tensors
from caimi.crypto.errors import SealNotOpened
from caimi.crypto.inference_seal import (
    INFERENCE_OVERHEAD,
    Salted,
    input_commitment,
    open_input,
    output_commitment,
    seal_output,
)
from caimi.host.errors import InputMismatch, NotForThisHost
from caimi.host.identity import HostIdentity
from caimi.host.publications import KnownPublication, Publications
from caimi.host.shelf import ModelLease, ModelShelf
from caimi.ports.clock import Clock, Entropy
from caimi.ports.content import ContentStore
from caimi.ports.host_store import RequestRow, SignedAnswer
from caimi.ports.model_runtime import RuntimeFailed
from caimi.types.primitives import ZERO32, Bytes32
from caimi.types.records import Answer, Cid, Receipt
from caimi.wire.codec import encode
from caimi.wire.digests import typed_digest

__all__ = ["Answerer", "TensorLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorLimits:
    """How large one input or output may be, in bytes of safetensors."""

    input_bytes: int = 64 << 20
    output_bytes: int = 64 << 20


class Answerer:
    """Answers requests with the keys of one start."""

    def __init__(
        self,
        identity: HostIdentity,
        limits: TensorLimits,
        *,
        publications: Publications,
        shelf: ModelShelf,
        content: ContentStore,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._identity = identity
        self._limits = limits
        self._publications = publications
        self._shelf = shelf
        self._content = content
        self._clock = clock
        self._entropy = entropy

    async def answer(self, row: RequestRow) -> SignedAnswer:
        """Open, check, run, seal, store, sign. Nothing is kept here: the caller stores the result before it is sent.

        Raises:
            NotForThisHost: The input is not sealed to these keys.
            BadLength, InputMismatch, TensorsRefused: Of the input.
            BadSealingKey: The client key is none.
            CaimiError: Of `Publications.get`, `ModelShelf.use`, the content store and the runtime.
        """
        # The input first: whoever cannot seal one costs no lease and no loading.
        salted = await self._open(row)
        publication = await self._publications.get(row.publication)
        async with self._shelf.use(publication, opening=row.id) as leased:
            self._check(leased.manifest, salted.payload)
            payload = await leased.model.run(salted.payload)
        self._check_output(leased.manifest, payload)
        output = Salted(salt=Bytes32(self._entropy.take(32)), payload=payload)
        sealed = seal_output(output, client=row.client_key, request=row.id)
        root = await self._content.upload([sealed])
        return self._sign(row, publication, leased, output=output, root=root.cid)

    async def _open(self, row: RequestRow) -> Salted:
        sealed = await _read(self._content, row.input, self._limits.input_bytes + INFERENCE_OVERHEAD)
        try:
            salted = open_input(sealed, key=self._identity.sealing, publication=row.publication)
        except SealNotOpened as error:
            raise NotForThisHost("the input is not sealed to the keys of this start") from error
        if input_commitment(salted) != row.input_commitment:
            raise InputMismatch("0x" + input_commitment(salted).hex())
        return salted

    def _check(self, manifest: Manifest, payload: bytes) -> None:
        tensors = decode_tensors(payload, max_bytes=self._limits.input_bytes)
        if manifest.signature is None:
            raise TensorsRefused("the model takes no tensors")
        check_tensors(manifest.signature.inputs, tensors)
        check_finite(tensors)

    def _check_output(self, manifest: Manifest, payload: bytes) -> None:
        # What comes out of a runner is as little trusted as the model.
        try:
            tensors = decode_tensors(payload, max_bytes=self._limits.output_bytes)
        except TensorsRefused as error:
            raise RuntimeFailed("the outputs are no tensors") from error
        if manifest.signature is None or set(tensors) != {spec.name for spec in manifest.signature.outputs}:
            raise RuntimeFailed("the outputs are not those of the model's signature")

    def _sign(
        self, row: RequestRow, publication: KnownPublication, leased: ModelLease, *, output: Salted, root: Cid
    ) -> SignedAnswer:
        identity, now = self._identity, self._clock.now()
        receipt = Receipt(
            request=row.id,
            publication=row.publication,
            grant=ZERO32,
            lease=leased.lease,
            quote=ZERO32,
            model_commitment=publication.record.manifest_commitment,
            input_commitment=row.input_commitment,
            output_commitment=output_commitment(output),
            price=0,
            heartbeat=ZERO32,
            time=now,
        )
        receipt_hash = typed_digest(identity.network, receipt)
        answer = Answer(
            at=row.lane,
            request=row.id,
            publication=row.publication,
            lease=leased.lease,
            output=root,
            input_commitment=row.input_commitment,
            output_commitment=receipt.output_commitment,
            receipt_hash=receipt_hash,
            answered_at=now,
        )
        return SignedAnswer(
            answer=encode(answer),
            answer_signature=identity.sign(answer),
            receipt=encode(receipt),
            receipt_signature=identity.sign(receipt),
            receipt_hash=receipt_hash,
            host_key=identity.encoded_key,
            operator_signature=identity.operator_signature,
            output=root,
        )


async def _read(content: ContentStore, root: Cid, limit: int) -> bytes:
    stream = await content.open(root, max_content_bytes=limit)
    return b"".join([bytes(leaf) async for leaf in stream])
