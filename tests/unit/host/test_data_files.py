"""A model whose weights lie in data files: published as a folder, run from memory by the real runner."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import StringStringEntryProto, TensorProto

from caimi.bundle.framing import manifest_commitment
from caimi.bundle.manifest import FileEntry, Manifest, Role, encode_manifest
from caimi.bundle.onnx_errors import ExternalData
from caimi.bundle.opener import SealEntropy, seal_bundle
from caimi.bundle.stream import content_key
from caimi.bundle.tensors import decode_tensors
from caimi.host.child import ChildRuntime
from caimi.host.frames import RunnerLimits
from caimi.ports.host_store import RequestState
from caimi.ports.model_runtime import RuntimeRefused
from caimi.sdk.bundles import LocalBundle, read_bundle
from caimi.types.primitives import PublicationId
from caimi.wire.keccak import keccak256
from tests.unit.bundle.onnx_models import make_node, model, value
from tests.unit.host.host_world import DATA_KEY, INPUT, WEIGHTS, HostWorld, tensors

LIMITS = RunnerLimits(threads=1)
HALVES = {"first.bin": b"padding!" + WEIGHTS[:2].tobytes(), "parts/second.bin": WEIGHTS[2:].tobytes()}


def outside(name: str, location: str, offset: int) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=(2, 2), data_location=TensorProto.EXTERNAL)
    entries = {"location": location, "offset": str(offset), "length": "16"}
    tensor.external_data.extend(StringStringEntryProto(key=k, value=v) for k, v in entries.items())
    return tensor


def write_folder(folder: Path) -> Path:
    """x [N, 4] times two halves gives y [N, 2]."""
    made = model(
        [make_node("Concat", ["a", "b"], ["w"], axis=0), make_node("MatMul", ["x", "w"], ["y"])],
        inputs=[value("x", ["N", 4])],
        outputs=[value("y", ["N", 2])],
        constants=[outside("a", "first.bin", 8), outside("b", "parts/second.bin", 0)],
    )
    files = {f"m/{name}": data for name, data in HALVES.items()} | {"m/model.onnx": made.SerializeToString()}
    for name, data in {**files, "notes.bin": b"no weights"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def contents(bundle: LocalBundle) -> dict[str, bytearray]:
    named = zip(bundle.manifest.files, bundle.paths, strict=True)
    return {entry.path: bytearray(path.read_bytes()) for entry, path in named}


async def publish(world: HostWorld, manifest: Manifest, pieces: Iterator[Iterator[bytes]]) -> PublicationId:
    entropy = SealEntropy(manifest_salt=keccak256(b"m"), stream_salt=keccak256(b"s"), stream_prefix=b"prefix!")
    segments = seal_bundle(content_key(DATA_KEY), manifest, entropy=entropy, contents=pieces)
    root = await world.content.upload([bytes(segment) for segment in segments])
    commitment = manifest_commitment(entropy.manifest_salt, encode_manifest(manifest))
    record, signed, identifier, capsule = world.keys.publication(ciphertext=root.cid, manifest_commitment=commitment)
    await world.commit(record, signed, identifier, capsule)
    return identifier


def test_the_model_says_which_files_are_its_data(tmp_path: Path) -> None:
    bundle = read_bundle(write_folder(tmp_path))
    assert {entry.path: entry.role for entry in bundle.manifest.files} == {
        "m/first.bin": Role.EXTERNAL_DATA,
        "m/model.onnx": Role.MODEL,
        "m/parts/second.bin": Role.EXTERNAL_DATA,
        "notes.bin": Role.DATA,
    }


def test_a_folder_is_published_loaded_from_memory_and_run(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.shelf._runtime = ChildRuntime(LIMITS)
            bundle = read_bundle(write_folder(tmp_path))
            publication = await publish(world, bundle.manifest, bundle.contents())
            asked = await world.ask(publication)
            (row,) = await world.until_settled(asked)
            assert row.state is RequestState.ANSWERED
            assert np.array_equal(await world.output(asked), INPUT @ WEIGHTS)

    asyncio.run(scenario())


def test_rejects_data_files_that_the_manifest_does_not_declare_as_such(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.shelf._runtime = ChildRuntime(LIMITS)
            bundle = read_bundle(write_folder(tmp_path))
            # As a publisher would who got round the tools: the bytes are there, but as something else.
            files = tuple(dataclasses.replace(file, role=_other(file)) for file in bundle.manifest.files)
            manifest = dataclasses.replace(bundle.manifest, files=files)
            asked = await world.ask(await publish(world, manifest, bundle.contents()))
            (row,) = await world.until_settled(asked)
            assert (row.state, row.reason) == (RequestState.REFUSED, "ExternalData")

    asyncio.run(scenario())


def _other(file: FileEntry) -> Role:
    return Role.DATA if file.path == "m/first.bin" else file.role


def test_a_runner_looks_for_nothing_on_a_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        bundle = read_bundle(write_folder(tmp_path))
        files = contents(bundle)
        del files["notes.bin"]
        shutil.rmtree(tmp_path)
        child = await ChildRuntime(LIMITS).load(files, bundle.manifest)
        try:
            given = decode_tensors(tensors(INPUT), max_bytes=1 << 16)
            assert np.array_equal((await child.run(given))["y"].array(), INPUT @ WEIGHTS)
        finally:
            await child.close()
        files["m/first.bin"].pop()
        with pytest.raises(RuntimeRefused):
            await ChildRuntime(LIMITS).load(files, bundle.manifest)

    asyncio.run(scenario())


def test_rejects_a_model_alone_whose_data_lie_beside_it(tmp_path: Path) -> None:
    with pytest.raises(ExternalData, match="declares no data file") as caught:
        read_bundle(write_folder(tmp_path) / "m" / "model.onnx")
    assert "publish their folder" in caught.value.hint


def test_rejects_a_model_that_names_itself_or_what_lies_above_it(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    for location, match in (("model.onnx", "declares no data file"), ("../notes.bin", "no relative path")):
        made = model(
            inputs=[value("x", ["N", 2])], outputs=[value("y", ["N", 2])], constants=[outside("a", location, 0)]
        )
        (folder / "m" / "model.onnx").write_bytes(made.SerializeToString())
        with pytest.raises(ExternalData, match=match):
            read_bundle(folder)
