"""Permanent reasons: what is wrong with a publication by its signed bytes alone (spec 30 §4)."""

from __future__ import annotations

from itertools import pairwise

from caimi.types.errors import (
    BadCid,
    BadMirrors,
    BadName,
    BadVersion,
    UnsupportedExtension,
    UnsupportedFormat,
    UnsupportedKind,
    UnsupportedPolicy,
    UnsupportedTerms,
)
from caimi.types.primitives import ZERO32, is_publication_name
from caimi.types.records import NO_TERMS, Cid, Publication, PublicationKind
from caimi.wire.digests import POLICY_OPEN

__all__ = ["check_cid", "check_publication"]


def check_cid(cid: Cid) -> None:
    """Refuse a CID that is not raw or dag-pb, or whose digest is zero.

    Raises:
        BadCid: So it is.
    """
    if cid.codec not in (0x55, 0x70) or cid.digest == ZERO32:
        raise BadCid(cid.codec)


def check_publication(publication: Publication) -> None:
    """Check what no time and no ledger state can mend, in this order on every ledger.

    Raises:
        UnsupportedFormat, UnsupportedKind, BadName, BadVersion, BadCid, UnsupportedPolicy, UnsupportedTerms,
        UnsupportedExtension, BadMirrors: The first that holds.
    """
    if publication.format != 1:
        raise UnsupportedFormat(publication.format)
    if publication.kind not in (PublicationKind.MODEL, PublicationKind.DATASET):
        raise UnsupportedKind(publication.kind)
    if not is_publication_name(publication.name):
        raise BadName
    if publication.version < 1:
        raise BadVersion
    check_cid(publication.ciphertext)
    if publication.policy_hash != POLICY_OPEN:
        raise UnsupportedPolicy(publication.policy_hash)
    if publication.terms != NO_TERMS:
        raise UnsupportedTerms
    if publication.extension_hash != ZERO32:
        raise UnsupportedExtension(publication.extension_hash)
    mirrors = publication.mirrors
    ascending = all(a < b for a, b in pairwise(mirrors))
    if not 1 <= len(mirrors) <= 7 or not ascending or publication.home in mirrors:
        raise BadMirrors
