"""A closed loop on MLServer over gRPC with raw tensors, its quickest way in. Runs in MLServer's environment.

    python load.py PORT IMAGE IN_FLIGHT SECONDS

IMAGE is a file with the float32 values of one 1 x 3 x H x W input. Prints {"answered": n, "seconds": s,
"logits": [...]}.
"""

# pyright: basic, reportMissingImports=false

import asyncio
import json
import math
import struct
import sys
import time
from pathlib import Path

import grpc
from mlserver.grpc import dataplane_pb2, dataplane_pb2_grpc

_WARM_UP = 64


def _request(image):
    side = math.isqrt(len(image) // 12)
    tensor = dataplane_pb2.ModelInferRequest.InferInputTensor(name="image", datatype="FP32", shape=[1, 3, side, side])
    return dataplane_pb2.ModelInferRequest(model_name="resnet50", inputs=[tensor], raw_input_contents=[image])


async def _loop(stub, request, in_flight, seconds, most):
    begin, answered = time.perf_counter(), 0
    left = most

    async def caller():
        nonlocal answered, left
        while left > 0 and time.perf_counter() - begin < seconds:
            left -= 1
            await stub.ModelInfer(request)
            answered += 1

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return answered, time.perf_counter() - begin


def _logits(answer):
    if answer.raw_output_contents:
        raw = answer.raw_output_contents[0]
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return list(answer.outputs[0].contents.fp32_contents)


async def _main(port, image, in_flight, seconds):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = _request(image)
        logits = _logits(await stub.ModelInfer(request))
        await _loop(stub, request, min(16, in_flight), seconds, _WARM_UP)
        answered, took = await _loop(stub, request, in_flight, seconds, sys.maxsize)
    print(json.dumps({"answered": answered, "seconds": took, "logits": logits}))


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), Path(sys.argv[2]).read_bytes(), int(sys.argv[3]), float(sys.argv[4])))
