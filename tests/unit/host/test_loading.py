"""How much memory a model takes while it is loaded: itself and one segment, whatever else its bundle has."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from types import SimpleNamespace
from typing import Any, Final

from caimi.bundle.framing import manifest_commitment
from caimi.bundle.manifest import BundleKind, FileEntry, Framework, Manifest, Role, encode_manifest
from caimi.bundle.opener import SealEntropy, seal_bundle
from caimi.bundle.stream import SEGMENT_BYTES, content_key
from caimi.host.loading import open_model
from caimi.storage.memory import MemoryBlockStore
from caimi.storage.transfer import Content
from caimi.types.primitives import ZERO32, Bytes32
from caimi.wire.keccak import keccak256
from tests.unit.host.host_world import SIGNATURE

_KEY: Final = bytes(range(32))
_FILES: Final = {
    "data.bin": (Role.EXTERNAL_DATA, bytes(9 << 20)),
    "history.bin": (Role.DATA, bytes(24 << 20)),
    "model.onnx": (Role.MODEL, b"graph" * 100_000),
    "notes.md": (Role.README, b"read me"),
}


def test_loading_takes_the_model_and_one_segment() -> None:
    entries = tuple(
        FileEntry(path=path, size=len(data), sha256=Bytes32(hashlib.sha256(data).digest()), role=role)
        for path, (role, data) in _FILES.items()
    )
    manifest = Manifest(
        kind=BundleKind.MODEL, framework=Framework.ONNX, files=entries, signature=SIGNATURE, licence_sha256=ZERO32
    )
    entropy = SealEntropy(manifest_salt=keccak256(b"m"), stream_salt=keccak256(b"s"), stream_prefix=b"prefix!")
    loaded = {path: len(data) for path, (role, data) in _FILES.items() if role in (Role.MODEL, Role.EXTERNAL_DATA)}

    async def load() -> int:
        blocks = MemoryBlockStore()
        content = Content(sources=[blocks], store=blocks)
        pieces = ([data] for _, data in _FILES.values())
        root = await content.upload(seal_bundle(content_key(_KEY), manifest, entropy=entropy, contents=pieces))
        commitment = manifest_commitment(entropy.manifest_salt, encode_manifest(manifest))
        publication: Any = SimpleNamespace(ciphertext=root.cid, manifest_commitment=commitment)
        tracemalloc.start()
        try:
            opened = await open_model(content, publication, _KEY, max_content_bytes=1 << 30)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert {path: len(data) for path, data in opened.files.items()} == loaded
        assert bytes(opened.files["model.onnx"]) == _FILES["model.onnx"][1]
        opened.wipe()
        assert not any(any(data) for data in opened.files.values())
        return peak

    # The store of this test gives its own blocks, so that what is fetched ahead takes nothing.
    assert asyncio.run(load()) < sum(loaded.values()) + SEGMENT_BYTES + (1 << 18)
