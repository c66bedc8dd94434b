"""The receipt of an answer (spec 60 §5, §7)."""

from __future__ import annotations

from caimi.types.primitives import ZERO32, Bytes32, UnixSeconds
from caimi.types.records import Publication, Receipt

__all__ = ["make_receipt"]


def make_receipt(
    publication: Publication,
    *,
    request: Bytes32,
    publication_id: Bytes32,
    lease: Bytes32,
    input_commitment: Bytes32,
    output_commitment: Bytes32,
    now: UnixSeconds,
) -> Receipt:
    """What was computed; what does not exist yet is zero.

    Arguments:
        request: digest of the `InferenceRequest` or `DirectRequest`.
    """
    return Receipt(
        request=request,
        publication=publication_id,
        grant=ZERO32,
        lease=lease,
        quote=ZERO32,
        model_commitment=publication.manifest_commitment,
        input_commitment=input_commitment,
        output_commitment=output_commitment,
        price=0,
        heartbeat=ZERO32,
        time=now,
    )
