"""From a key to a plaintext model: verified blocks, authentic segments, the committed manifest (spec 60 §3).

The plaintext exists in one buffer of this process, which the caller overwrites, and never on a disk.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from caimi.bundle.buffers import overwrite
from caimi.bundle.errors import StreamRefused
from caimi.bundle.framing import OpenedFile
from caimi.bundle.manifest import BundleKind, Manifest, Role
from caimi.bundle.opener import BundleOpener
from caimi.bundle.stream import content_key
from caimi.host.errors import NotAModel
from caimi.ports.content import ContentStore
from caimi.types.errors import CaimiError, Retry
from caimi.types.records import Publication

__all__ = ["OpenedModel", "is_final", "open_model", "wipe"]

_LOADED: Final = (Role.MODEL, Role.EXTERNAL_DATA)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedModel:
    """A decrypted model whose manifest is the one that the publication commits to."""

    manifest: Manifest
    files: dict[str, bytearray] = field(repr=False)
    """The model and its data files, by the manifest's paths. Plaintext: `wipe` them."""

    def wipe(self) -> None:
        """Overwrite all files."""
        for data in self.files.values():
            wipe(data)


def is_final(error: CaimiError) -> bool:
    """Whether trying again cannot help. A ciphertext whose blocks match its CID will never open better."""
    return error.retry is Retry.NEVER or isinstance(error, StreamRefused)


def wipe(buffer: bytearray) -> None:
    """Overwrite a buffer. Copies that libraries made are out of reach."""
    overwrite(buffer)


async def open_model(
    content: ContentStore, publication: Publication, data_key: bytes, *, max_content_bytes: int
) -> OpenedModel:
    """Fetch and decrypt a publication's model and its data files; other files are checked and passed over.

    Memory is the files that come out, one segment, and the blocks that are fetched ahead.

    Arguments:
        data_key: the 32 bytes from the capsule.
        max_content_bytes: most bytes of ciphertext, and of files.
    Raises:
        AllSourcesFailed: No source gives a block that matches its CID.
        MalformedNode, WrongProfile, DagTooLarge: Of the tree of blocks.
        StreamRefused, CommitmentMismatch, MalformedBundle, ManifestRefused, BundleTooLarge, FileMismatch: Of what is
            inside.
        NotAModel: The bundle is a dataset.
    """
    stream = await content.open(publication.ciphertext, max_content_bytes=max_content_bytes)
    opener = BundleOpener(
        content_key(data_key),
        commitment=publication.manifest_commitment,
        ciphertext_bytes=stream.content_bytes,
        max_content_bytes=max_content_bytes,
        released=_LOADED,
    )
    kept: list[OpenedFile] = []
    try:
        async for leaf in stream:
            # Decryption and hashes must not hold up everything else.
            kept += await asyncio.to_thread(opener.feed, leaf)
        manifest = opener.finish()
        if manifest.kind is not BundleKind.MODEL:
            raise NotAModel("the bundle is a dataset")
    except BaseException:
        for opened in kept:
            wipe(opened.data)
        raise
    finally:
        opener.close()
    return OpenedModel(manifest=manifest, files={opened.entry.path: opened.data for opened in kept})
