"""Refusals of the byte layer: CIDs, blocks, segments, bundles, manifests and models (spec 15).

* BundleError
  + CidRefused: a CID is not the one form that we use
  + BlockRefused: a block is not what its CID, its parent or the profile says
    - BlockTooLarge, BlockMismatch, UnaskedBlock, MalformedNode, WrongProfile, DagTooLarge, IncompleteDag
  + StreamRefused: the ciphertext does not open
    - MalformedHeader, TruncatedStream, TrailingBytes, TamperedSegment, WrongContentKey, StreamTooLong, OutOfOrder
  + ManifestRefused, CommitmentMismatch, MalformedBundle, FileMismatch, BundleTooLarge
  + ModelRefused: see `caimi.bundle.onnx_errors`
"""

from __future__ import annotations

from caimi.types.failure import Blame, CaimiError, Certainty, Retry

__all__ = [
    "BlockMismatch",
    "BlockRefused",
    "BlockTooLarge",
    "BundleError",
    "BundleTooLarge",
    "CidRefused",
    "CommitmentMismatch",
    "DagTooLarge",
    "FileMismatch",
    "IncompleteDag",
    "MalformedBundle",
    "MalformedHeader",
    "MalformedNode",
    "ManifestRefused",
    "OutOfOrder",
    "StreamRefused",
    "StreamTooLong",
    "TamperedSegment",
    "TrailingBytes",
    "TruncatedStream",
    "UnaskedBlock",
    "WrongContentKey",
    "WrongProfile",
]


class BundleError(CaimiError):
    """Root of the refusals of this package."""

    certainty = Certainty.PROVEN


class CidRefused(BundleError):
    """The CID is not CIDv1, sha2-256, codec raw or dag-pb, in 36 bytes or canonical lower-case base32."""

    blame = Blame.CALLER
    hint = "use the CID that `ipfs add --cid-version=1 --raw-leaves` prints: it begins with bafkrei or bafybei"


class BlockRefused(BundleError):
    """Root of what is wrong with one block."""

    blame = Blame.NODE
    retry = Retry.AFTER
    hint = "ask another source for the block; do not use this source's bytes"


class BlockTooLarge(BlockRefused):
    """The block is larger than 2 MiB."""


class BlockMismatch(BlockRefused):
    """The block's hash is not the one of the CID that was asked for."""


class UnaskedBlock(BlockRefused):
    """The block was not asked for, or was fed before the one that is due."""


class MalformedNode(BlockRefused):
    """The block hashes right but is not a canonical dag-pb UnixFS file node."""

    blame = Blame.PUBLISHER
    retry = Retry.NEVER
    hint = "add the content again with the profile of spec 15 §2"


class WrongProfile(MalformedNode):
    """A sound UnixFS node whose shape is not the one that the profile gives to this content."""


class DagTooLarge(BlockRefused):
    """The content is larger than the caller's limit."""

    blame = Blame.PUBLISHER
    retry = Retry.NEVER
    hint = "raise the reader's size limit if you trust the publisher"


class IncompleteDag(BlockRefused):
    """The source ended before the last block."""

    certainty = Certainty.SUSPECTED
    hint = "fetch the remaining blocks, from another source if this one has none"


class StreamRefused(BundleError):
    """Root of what is wrong with a ciphertext. Nothing of the segment concerned was released."""

    certainty = Certainty.SUSPECTED
    hint = "compare the blocks with the ciphertext CID: if they match the publisher made it so, if not the source did"


class MalformedHeader(StreamRefused):
    """The first 40 bytes are not a header of the format."""


class TruncatedStream(StreamRefused):
    """The ciphertext ends before its last segment."""

    retry = Retry.AFTER


class TrailingBytes(StreamRefused):
    """There are bytes after the last segment."""


class TamperedSegment(StreamRefused):
    """Segment `index` does not open under the key that opens others."""

    def __init__(self, index: int) -> None:
        super().__init__(f"segment {index} does not open: its bytes were changed")
        self.index = index


class WrongContentKey(StreamRefused):
    """No segment opens: the key, the associated data or the header is not the one used for encryption."""

    hint = "check the key against the capsule's key commitment, and the associated data against the publication"


class StreamTooLong(StreamRefused):
    """The content needs more segments than the format or the caller's limit allows."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "split the content"


class OutOfOrder(StreamRefused):
    """The caller used a single-use object twice, or after it failed."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "make a new object for each pass"


class ManifestRefused(BundleError):
    """The manifest is not canonical, or says something that no manifest may say."""

    blame = Blame.PUBLISHER
    hint = "write the manifest with caimi.bundle.manifest.encode_manifest; see spec 15 §4"


class CommitmentMismatch(BundleError):
    """The opened manifest is not the one that the publication commits to."""

    blame = Blame.PUBLISHER
    hint = "do not use the content; the publication names another manifest"


class MalformedBundle(BundleError):
    """The plaintext does not follow the framing of spec 15 §5."""

    blame = Blame.PUBLISHER
    hint = "write the bundle with caimi.bundle.framing.frame_bundle"


class FileMismatch(BundleError):
    """The bytes of one file are not those that the manifest names. `path` says which file."""

    blame = Blame.PUBLISHER
    hint = "do not use the content; the publisher must publish it again"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"file {path!r}: {problem}")
        self.path = path


class BundleTooLarge(BundleError):
    """The manifest announces more bytes than the caller's limit."""

    blame = Blame.PUBLISHER
    hint = "raise the reader's limit if there is memory for it"
