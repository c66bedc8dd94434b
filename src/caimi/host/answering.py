"""One request from sealed input to signed answer (spec 60 §4, §5)."""

from __future__ import annotations

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
from caimi.host.receipts import make_receipt
from caimi.host.shelf import ModelLease, ModelShelf
from caimi.host.tensor_checks import TensorLimits, checked_inputs, checked_outputs
from caimi.ports.clock import Clock, Entropy
from caimi.ports.content import ContentStore
from caimi.ports.host_store import RequestRow, SignedAnswer
from caimi.types.primitives import Bytes32
from caimi.types.records import Answer, Cid
from caimi.wire.codec import encode
from caimi.wire.digests import typed_digest

__all__ = ["Answerer"]


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
            inputs = checked_inputs(leased.manifest.signature, salted.payload, limits=self._limits)
            outputs = await leased.model.run(inputs)
        payload = checked_outputs(leased.manifest.signature, outputs, limits=self._limits)
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

    def _sign(
        self, row: RequestRow, publication: KnownPublication, leased: ModelLease, *, output: Salted, root: Cid
    ) -> SignedAnswer:
        identity, now = self._identity, self._clock.now()
        receipt = make_receipt(
            publication.record,
            request=row.id,
            publication_id=row.publication,
            lease=leased.lease,
            input_commitment=row.input_commitment,
            output_commitment=output_commitment(output),
            now=now,
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
