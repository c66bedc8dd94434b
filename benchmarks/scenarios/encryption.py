"""Encrypting and storing a model, beside what the cipher and the hash alone can do."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.interleave import interleave
from benchmarks.measure import Better, Measure, Statistic
from benchmarks.scenario import Findings, Scenario, Stage
from benchmarks.scenarios.inference import resnet_file
from caimi.bundle.opener import SealEntropy, seal_bundle
from caimi.bundle.stream import content_key
from caimi.bundle.unixfs import UnixFsBuilder
from caimi.sdk.bundles import LocalBundle, read_bundle
from caimi.storage.content import FolderBlockStore
from caimi.storage.transfer import Content
from caimi.types.primitives import Bytes32

__all__ = ["SCENARIOS", "aes_gcm_seconds", "sha256_seconds"]

_SEGMENT: Final = 1 << 20
_ROUNDS: Final = 9
_SHA, _GCM, _BOTH = "SHA-256 alone", "AES-256-GCM alone", "one SHA-256 and one AES-256-GCM"


def sha256_seconds(data: bytes) -> float:
    """How long the library takes to hash it once."""
    begin = time.perf_counter()
    hashlib.sha256(data).digest()
    return time.perf_counter() - begin


def aes_gcm_seconds(data: bytes) -> float:
    """How long the library takes to encrypt it in segments of 1 MiB into one buffer."""
    cipher, buffer, view = AESGCM(bytes(32)), bytearray(_SEGMENT + 16), memoryview(data)
    begin = time.perf_counter()
    for number, start in enumerate(range(0, len(data), _SEGMENT)):
        piece = view[start : start + _SEGMENT]
        cipher.encrypt_into(number.to_bytes(12, "big"), piece, None, memoryview(buffer)[: len(piece) + 16])
    return time.perf_counter() - begin


async def _measure(stage: Stage) -> Findings:
    path = await resnet_file(stage)
    bundle, data = await asyncio.to_thread(read_bundle, path), path.read_bytes()
    megabytes = len(data) / 1e6
    folder = stage.folder / "blocks"

    def alone(seconds: Callable[[bytes], float]) -> Callable[[], Awaitable[float]]:
        return lambda: asyncio.to_thread(lambda: megabytes / seconds(data))

    samples = await interleave(
        {
            "sha": alone(sha256_seconds),
            "gcm": alone(aes_gcm_seconds),
            "both": alone(lambda given: sha256_seconds(given) + aes_gcm_seconds(given)),
            "seal": lambda: asyncio.to_thread(lambda: megabytes / _seal_seconds(bundle)),
            "store": lambda: _store_rate(bundle, folder, megabytes),
        },
        rounds=stage.rounds(_ROUNDS),
        tell=stage.tell,
    )

    def measure(name: str, ours: str, peer: str, limit: str) -> Measure:
        return Measure(
            name=name,
            unit="MB/s",
            statistic=Statistic.MEDIAN,
            better=Better.HIGHER,
            samples=samples[ours],
            peer=peer,
            peer_samples=samples[limit],
        )

    return Findings(
        measures=(
            measure("encrypt and address", "seal", _BOTH, "both"),
            measure("encrypt and address", "seal", _SHA, "sha"),
            measure("encrypt and address", "seal", _GCM, "gcm"),
            measure("encrypt, address and store", "store", _BOTH, "both"),
        ),
        conditions={
            "model_mb": megabytes,
            "encrypt and address": "file read, hashed, framed, encrypted by 1 MiB, ciphertext hashed to its CID",
            "store": "the same into the block store on disk, each block checked and synced",
            "peers": "hashlib, and cryptography's AESGCM into one buffer, on the same bytes in memory",
            "threads": 1,
        },
    )


def _sealed(bundle: LocalBundle) -> Iterator[memoryview]:
    entropy = SealEntropy(
        manifest_salt=Bytes32(os.urandom(32)), stream_salt=Bytes32(os.urandom(32)), stream_prefix=os.urandom(7)
    )
    return seal_bundle(content_key(os.urandom(32)), bundle.manifest, entropy=entropy, contents=bundle.contents())


def _seal_seconds(bundle: LocalBundle) -> float:
    builder, begin = UnixFsBuilder(), time.perf_counter()
    for _ in builder.blocks(_sealed(bundle)):
        pass
    if not builder.root.cid.digest:
        raise ValueError("no root")
    return time.perf_counter() - begin


async def _store_rate(bundle: LocalBundle, folder: Path, megabytes: float) -> float:
    # A fresh folder each time: blocks of the round before would be blocks that are there already.
    store = FolderBlockStore(folder)
    begin = time.perf_counter()
    await Content(sources=[store], store=store).upload(_sealed(bundle))
    seconds = time.perf_counter() - begin
    await asyncio.to_thread(shutil.rmtree, folder)
    return megabytes / seconds


SCENARIOS: Final = (
    Scenario(
        name="encrypt_upload",
        summary="a 102 MB model encrypted, addressed and stored, against the cipher and the hash alone",
        minutes=0.3,
        run=_measure,
    ),
)
"""Payload throughput."""
