"""The runner process: what it may use, and what becomes of one that misbehaves."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from caimi.bundle.manifest import BundleKind, FileEntry, Framework, Manifest, Role
from caimi.bundle.onnx_errors import CustomOperator, MalformedModel, ModelTooLarge, SignatureMismatch
from caimi.bundle.onnx_inspect import inspect_model
from caimi.bundle.signature import DType, TensorSpec
from caimi.bundle.tensors import (
    Tensor,
    TensorsTooLarge,
    WrongElementType,
    WrongShape,
    decode_tensors,
)
from caimi.host.child import ChildRuntime, ModelChild
from caimi.host.frames import (
    Frame,
    RunnerLimits,
    pack_header,
    pack_tensors,
    read_failure,
    unpack_header,
    unpack_tensors,
)
from caimi.ports.model_runtime import RuntimeFailed, RuntimeRefused
from caimi.types.primitives import ZERO32, Bytes32
from tests.unit.bundle.onnx_models import constant, make_node, model, value
from tests.unit.host.host_world import INPUT, WEIGHTS, model_bytes, tensors

LIMITS = RunnerLimits(threads=1)


def entry(data: bytes) -> FileEntry:
    return FileEntry(path="m.onnx", size=len(data), sha256=Bytes32(hashlib.sha256(data).digest()), role=Role.MODEL)


def manifest(data: bytes) -> Manifest:
    return Manifest(
        kind=BundleKind.MODEL,
        framework=Framework.ONNX,
        files=(entry(data),),
        signature=inspect_model(data).signature,
        licence_sha256=ZERO32,
    )


GOOD = manifest(model_bytes())


def given(values: Any) -> dict[str, Tensor]:
    return decode_tensors(tensors(values), max_bytes=1 << 26)


async def loaded(limits: RunnerLimits = LIMITS) -> ModelChild:
    return await ChildRuntime(limits).load({"m.onnx": bytearray(model_bytes())}, GOOD)


def test_runner_that_waits_gets_the_next_model_and_the_next_one_waits() -> None:
    async def scenario() -> None:
        runtime = ChildRuntime(LIMITS)
        runtime.prepare()
        waiting = runtime.waiting
        runtime.prepare()
        assert waiting is not None and runtime.waiting == waiting, "one is enough"
        child = await runtime.load({"m.onnx": bytearray(model_bytes())}, GOOD)
        try:
            assert child.pid == waiting
            assert runtime.waiting not in (None, waiting)
        finally:
            await child.close()
            await runtime.close()
        assert runtime.waiting is None

    asyncio.run(scenario())


def test_runner_that_died_while_it_waited_is_not_used() -> None:
    async def scenario() -> None:
        runtime = ChildRuntime(LIMITS)
        runtime.prepare()
        waiting = runtime.waiting
        assert waiting is not None
        os.kill(waiting, signal.SIGKILL)
        async with asyncio.timeout(30.0):
            while runtime.waiting is not None:  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.01)
        child = await runtime.load({"m.onnx": bytearray(model_bytes())}, GOOD)
        try:
            assert child.pid != waiting
            outputs = await child.run(given(INPUT))
            assert np.array_equal(outputs["y"].array(), INPUT @ WEIGHTS)
        finally:
            await child.close()
            await runtime.close()

    asyncio.run(scenario())


def test_runs_a_model_again_and_again_and_survives_wrong_inputs() -> None:
    async def scenario() -> None:
        child = await loaded(RunnerLimits(threads=1, max_input_bytes=4096))
        try:
            for rows in (1, 2):
                outputs = await child.run(given(INPUT[:rows]))
                assert np.array_equal(outputs["y"].array(), INPUT[:rows] @ WEIGHTS)
            with pytest.raises(WrongElementType):
                await child.run({"x": Tensor(dtype=DType.INT8, shape=(2, 4), data=bytes(8))})
            with pytest.raises(WrongShape):
                await child.run(given(INPUT[:, :2]))
            assert child.is_alive
            assert len(await child.run(given(INPUT))) > 0
            # Longer than a frame may be: the runner ends at once.
            with pytest.raises(RuntimeFailed):
                await child.run(given(np.zeros((300, 4))))
            assert not child.is_alive
            with pytest.raises(RuntimeFailed):
                await child.run(given(INPUT))
        finally:
            await child.close()
        await child.close()

    asyncio.run(scenario())


@pytest.mark.skipif(sys.platform != "linux", reason="reads what the system knows of the process")
def test_a_runner_inherits_nothing_and_is_held_to_its_limits() -> None:
    async def scenario() -> None:
        secret, _ = os.pipe()
        os.set_inheritable(secret, True)
        os.environ["CAIMI_SECRET_OF_A_TEST"] = "1"
        try:
            child = await loaded()
        finally:
            del os.environ["CAIMI_SECRET_OF_A_TEST"]
            os.close(secret)
        try:
            facts = _facts(child.pid)
            # The runner gets nothing of ours, and its library is told to report to nobody.
            assert facts["environ"] == b"ORT_DISABLE_TELEMETRY=1\0"
            assert facts["limits"]["Max address space"] == str(LIMITS.memory_bytes)
            assert facts["limits"]["Max file size"] == "0"
            assert facts["limits"]["Max open files"] == str(LIMITS.files)
            assert facts["limits"]["Max core file size"] == "0"
            assert facts["limits"]["Max processes"] == "0"
            assert facts["limits"]["Max cpu time"] != "unlimited"
            # Three of nothing, the socket, and what its libraries hold.
            assert sum(name.startswith("socket:") for name in facts["files"]) == 1
            assert not any(name.startswith("pipe:") for name in facts["files"])
        finally:
            await child.close()

    asyncio.run(scenario())


def _facts(pid: int) -> dict[str, Any]:
    folder = f"/proc/{pid}"
    with open(f"{folder}/environ", "rb") as file:
        environ = file.read()
    with open(f"{folder}/limits", encoding="ascii") as file:
        limits = {line[:26].strip(): line[26:].split()[0] for line in file.readlines()[1:]}
    files = [os.readlink(f"{folder}/fd/{name}") for name in os.listdir(f"{folder}/fd")]
    return {"environ": environ, "limits": limits, "files": files}


def test_the_inspection_comes_before_the_runtime() -> None:
    async def scenario() -> None:
        runtime = ChildRuntime(RunnerLimits(threads=1, max_model_bytes=4096))
        custom = model([make_node("Foo", ["x"], ["y"], domain="evil")], opsets={"": 17, "evil": 1})
        other = model(inputs=[value("x", ["N", 4])], outputs=[value("y", ["N", 4])])
        for error, data in (
            (CustomOperator, custom.SerializeToString()),
            (MalformedModel, b"no model"),
            (SignatureMismatch, other.SerializeToString()),
        ):
            with pytest.raises(error):
                await runtime.load({"m.onnx": bytearray(data)}, replace(GOOD, files=(entry(data),)))

    asyncio.run(scenario())


def test_rejects_a_model_that_is_larger_than_the_runner_takes() -> None:
    async def scenario() -> None:
        runtime = ChildRuntime(RunnerLimits(threads=1, max_model_bytes=10))
        # The frame still fits: the inspection inside says no.
        with pytest.raises(ModelTooLarge):
            await runtime.load({"m.onnx": bytearray(model_bytes())}, GOOD)
        with pytest.raises(RuntimeFailed):
            await runtime.load({"m.onnx": bytearray((1 << 20) + 100)}, GOOD)
        # Neither longer nor shorter than the manifest says.
        for data in (model_bytes() + b"\0", model_bytes()[:-1]):
            with pytest.raises(RuntimeRefused):
                await ChildRuntime(LIMITS).load({"m.onnx": bytearray(data)}, GOOD)

    asyncio.run(scenario())


def test_rejects_what_the_runtime_does_not_load_without_its_words() -> None:
    async def scenario() -> None:
        # Lawful by the inspection; the shapes do not fit together.
        wrong = model(
            [make_node("MatMul", ["x", "w"], ["y"])],
            inputs=[value("x", ["N", 4])],
            outputs=[value("y", ["N", 2])],
            constants=[constant("w", np.zeros((3, 2), dtype="float32"))],
        ).SerializeToString()
        with pytest.raises(RuntimeRefused) as caught:
            await ChildRuntime(LIMITS).load({"m.onnx": bytearray(wrong)}, manifest(wrong))
        assert "MatMul" not in str(caught.value)

    asyncio.run(scenario())


def test_rejects_outputs_beyond_the_limit_and_bfloat16() -> None:
    async def scenario() -> None:
        child = await loaded(RunnerLimits(threads=1, max_output_bytes=64))
        try:
            with pytest.raises(TensorsTooLarge):
                await child.run(given(INPUT))
        finally:
            await child.close()
        brain = model(
            [make_node("Identity", ["x"], ["y"])],
            inputs=[value("x", ["N"], 16)],
            outputs=[value("y", ["N"], 16)],
        ).SerializeToString()
        with pytest.raises(RuntimeRefused):
            await ChildRuntime(LIMITS).load({"m.onnx": bytearray(brain)}, manifest(brain))

    asyncio.run(scenario())


def test_a_runner_that_uses_too_much_time_is_killed_by_the_system() -> None:
    async def scenario() -> None:
        size = 1500
        big = constant("w", np.zeros((size, size), dtype="float32"))
        nodes = [make_node("MatMul", ["x" if i == 0 else f"h{i}", "w"], [f"h{i + 1}"]) for i in range(200)]
        nodes.append(make_node("Identity", ["h200"], ["y"]))
        slow = model(
            nodes, inputs=[value("x", [size, size])], outputs=[value("y", [size, size])], constants=[big]
        ).SerializeToString()
        limits = RunnerLimits(threads=1, run_cpu_s=1, run_wait_s=200)
        child = await ChildRuntime(limits).load({"m.onnx": bytearray(slow)}, manifest(slow))
        data = np.zeros((size, size), dtype="float32")
        with pytest.raises(RuntimeFailed, match=str(-signal.SIGXCPU) + "|EOFError"):
            await child.run(given(data))
        assert not child.is_alive

    asyncio.run(scenario())


def test_a_killed_runner_is_told_from_one_that_refuses() -> None:
    async def scenario() -> None:
        child = await loaded()
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(RuntimeFailed):
            await child.run(given(INPUT))
        assert not child.is_alive

    asyncio.run(scenario())


def test_a_cancelled_call_ends_the_runner() -> None:
    async def scenario() -> None:
        child = await loaded()
        os.kill(child.pid, signal.SIGSTOP)
        task = asyncio.create_task(child.run(given(INPUT)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not child.is_alive

    asyncio.run(scenario())


def test_frames_are_bounded() -> None:
    limits = {Frame.RUN: 10}
    assert unpack_header(pack_header(Frame.RUN, 10), limits) == (Frame.RUN, 10)
    for kind, length in ((Frame.RUN, 11), (Frame.LOAD, 1)):
        with pytest.raises(ValueError, match="frame"):
            unpack_header(pack_header(kind, length), limits)
    assert read_failure(b'{"error": "A", "text": "b"}') == ("A", "b")
    for bad in (b"", b"[]", b'{"error": 1, "text": ""}', b'{"error": ""}', b"\xff"):
        with pytest.raises(ValueError):
            read_failure(bad)
    assert RunnerLimits.from_json(LIMITS.to_json()) == LIMITS


def test_tensors_are_packed_and_nothing_else_is_unpacked() -> None:
    specs = [TensorSpec(name=name, dtype=dtype, shape=()) for name, dtype in (("a", DType.FLOAT32), ("b", DType.INT8))]
    sent = {
        "b": Tensor(dtype=DType.INT8, shape=(3,), data=b"\xfa\xfb\xfc"),
        "a": Tensor(dtype=DType.FLOAT32, shape=(2, 20), data=bytes(range(160))),
    }
    payload = b"".join(bytes(part) for part in pack_tensors(specs, sent))
    got = unpack_tensors(specs, payload)
    assert {n: (t.dtype, t.shape, bytes(t.data)) for n, t in got.items()} == {
        n: (t.dtype, t.shape, t.data) for n, t in sent.items()
    }
    # Every array lies at a multiple of 64 bytes.
    assert [payload.find(bytes(t.data)) % 64 for t in got.values()] == [0, 0]
    assert unpack_tensors(specs[:1], b"".join(bytes(p) for p in pack_tensors(specs[:1], sent)))["a"].shape == (2, 20)
    bad = [payload[:n] for n in range(len(payload))] + [payload + b"\0", payload + bytes(64)]
    bad += [bytes([17]) + payload[1:], bytes([2]) + b"\xff" * 8 + payload[9:]]
    for data in bad:
        with pytest.raises(ValueError):
            unpack_tensors(specs, data)
