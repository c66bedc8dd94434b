"""The decoders of records, keys, bundles and models."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from tests.fuzz.mutation import change_json, change_messages, change_tensors, change_words
from tests.fuzz.target import Check, Target, refusal_of, same_bytes
from tests.vectors.suites import suite, unhex

if TYPE_CHECKING:
    from caimi.types.records import Event

__all__ = ["BYTE_DECODERS"]

_MODEL_BYTES: Final = 1 << 16
_EACH_KIND: Final = 3
_TREE_BYTES: Final = 1 << 40


def _hexes(value: Any, *names: str) -> Iterator[bytes]:
    # Every byte string under one of these names, at any depth.
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(cast("dict[Any, Any]", value).items())
    elif isinstance(value, list):
        items = list(enumerate(cast("list[Any]", value)))
    for name, item in items:
        if isinstance(item, str) and name in names:
            yield unhex(item)
        else:
            yield from _hexes(item, *names)


def _certificate() -> Check:
    from caimi.crypto.quorum import ValidatorSet, verify_certificate
    from caimi.types.errors import Refusal
    from caimi.types.primitives import Bytes32, Epoch
    from caimi.types.records import Certificate, Genesis
    from caimi.wire.codec import decode, encode

    read = suite("certificate/quorum.json")
    validators = ValidatorSet.from_genesis(decode(Genesis, unhex(read["genesis"])))
    network, epoch = Bytes32(unhex(read["network"])), Epoch(read["epoch"])

    def work(data: bytes) -> None:
        certificate = decode(Certificate, data)
        same_bytes(encode(certificate), data)
        verify_certificate(certificate, network=network, validator_set=validators, epoch=epoch)

    return lambda data: refusal_of(partial(work, data), (Refusal,))


def _certificate_seeds() -> list[bytes]:
    return list(_hexes(suite("certificate/quorum.json"), "certificate"))


def _event() -> Check:
    from caimi.types.errors import BadBody, BadEncoding
    from caimi.types.records import Event, Kind
    from caimi.wire.codec import decode, encode
    from caimi.wire.functions import BODIES, decode_body, encode_body

    def work(data: bytes) -> None:
        event = decode(Event, data)
        same_bytes(encode(event), data)
        if event.kind in BODIES:
            kind = Kind(event.kind)
            same_bytes(encode_body(kind, *decode_body(kind, event.body)), event.body)

    return lambda data: refusal_of(partial(work, data), (BadEncoding, BadBody))


def _event_seeds() -> list[bytes]:
    from caimi.types.records import Event, Lane
    from caimi.wire.codec import encode
    from caimi.wire.functions import BODIES

    seeds = list(_hexes(suite("events/run.json")["items"], "encoded"))
    # Of each kind of event that a scenario carries, a few.
    seen: dict[int, int] = {}
    for name in ("registry/fabric.json", "registry/fabric-batches.json", "registry/fabric-brakes.json"):
        for event in _carried(name):
            seen[event.kind] = seen.get(event.kind, 0) + 1
            if seen[event.kind] <= _EACH_KIND:
                seeds.append(encode(event))
    lane = Lane(chain=bytes(32), registry=bytes(32))  # pyright: ignore[reportArgumentType]
    empty = [Event(schema=1, kind=kind, destinations=(lane,), subject=bytes(32), body=b"") for kind in BODIES]  # pyright: ignore[reportArgumentType]
    return seeds + [encode(event) for event in empty]


def _carried(name: str) -> Iterator[Event]:
    from caimi.types.errors import Refusal
    from caimi.types.records import Item
    from caimi.wire.functions import decode_call

    for call in _hexes(suite(name)["cases"], "call"):
        try:
            function, arguments = decode_call(call)
        except Refusal:
            continue
        if function == "applyRun":
            yield from (item.event for item in cast("tuple[Item, ...]", arguments[1]))


def _capsule() -> Check:
    from caimi.crypto.capsule import Capsule, check_capsule
    from caimi.crypto.errors import CapsuleRefused
    from caimi.crypto.secp256k1 import GROUP
    from caimi.types.primitives import Bytes32

    read = suite("threshold/capsule.json")
    group_key, label = GROUP.decode_point(unhex(read["groupKey"])), Bytes32(unhex(read["cases"][0]["label"]))

    def work(data: bytes) -> None:
        capsule = Capsule.from_bytes(data)
        same_bytes(capsule.to_bytes(), data)
        check_capsule(capsule, label=label, group_key=group_key)

    return lambda data: refusal_of(partial(work, data), (CapsuleRefused,))


def _manifest() -> Check:
    from caimi.bundle.errors import ManifestRefused
    from caimi.bundle.manifest import decode_manifest, encode_manifest

    def work(data: bytes) -> None:
        same_bytes(encode_manifest(decode_manifest(data)), data)

    return lambda data: refusal_of(partial(work, data), (ManifestRefused,))


def _manifest_seeds() -> list[bytes]:
    read = suite("bundle/manifest.json")
    texts = [case["text"].encode("utf-8", "surrogatepass") for case in read["refusals"] if "text" in case]
    return [text for text in [*_hexes(read, "encoded"), *texts] if len(text) <= 4096]


def _unixfs() -> Check:
    from caimi.bundle.cid import decode_cid
    from caimi.bundle.dagpb import decode_file_node, encode_file_node
    from caimi.bundle.errors import BlockRefused, CidRefused
    from caimi.bundle.unixfs import Block, DagReader
    from caimi.types.records import Cid
    from caimi.wire.digests import cid_bytes

    some = Cid(codec=0x70, digest=bytes(32))  # pyright: ignore[reportArgumentType]

    def work(data: bytes) -> None:
        if data[:2] == b"\x01\x55" or data[:2] == b"\x01\x70":
            same_bytes(cid_bytes(decode_cid(data)), data)
            return
        same_bytes(encode_file_node(decode_file_node(data)), data)
        DagReader(some, max_content_bytes=_TREE_BYTES).feed(Block(cid=some, data=data))

    return lambda data: refusal_of(partial(work, data), (BlockRefused, CidRefused))


def _unixfs_seeds() -> list[bytes]:
    from caimi.bundle.dagpb import FileLink, encode_file_node
    from caimi.types.records import Cid

    trees = [data for data in _hexes(suite("unixfs/trees.json"), "data") if len(data) <= 4096]
    leaf = Cid(codec=0x55, digest=bytes(32))  # pyright: ignore[reportArgumentType]
    sizes = ([1 << 20, 1 << 20, 5], [1 << 20] * 40)
    sound = [encode_file_node([FileLink(cid=leaf, content_bytes=n, tree_bytes=n) for n in row]) for row in sizes]
    return [*trees, *sound, *_hexes(suite("unixfs/cid.json"), "binary")]


def _onnx() -> Check:
    from caimi.bundle.onnx_errors import ModelRefused
    from caimi.bundle.onnx_inspect import inspect_model

    sizes = {"model.data": 1 << 20}

    def work(data: bytes) -> None:
        inspect_model(data, size_of=sizes.get)

    return lambda data: refusal_of(partial(work, data), (ModelRefused,))


def _onnx_seeds() -> list[bytes]:
    from onnx import TensorProto

    from tests.unit.bundle.onnx_models import conditional, constant, make_node, model, relu, value

    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    for key, text in (("location", "model.data"), ("offset", "4"), ("length", "12")):
        outside.external_data.add(key=key, value=text)
    add = make_node("Add", ["h", "w"], ["y"])
    both = [value("x", ["N", 3]), value("c", [], TensorProto.BOOL)]
    models = [
        model(),
        model([conditional(2)], inputs=both, outputs=[value("y0", ["N", 3])]),
        model([relu("x", "h"), add], constants=[constant("w", [1.0, 2.0, 3.0])]),
        model([relu("x", "h"), add], constants=[outside]),
        model([make_node("Reshape", ["x", "s"], ["y"], allowzero=1)], opsets={"": 21, "ai.onnx.ml": 4}),
    ]
    return [one.SerializeToString(deterministic=True) for one in models]


def _tensors() -> Check:
    from caimi.bundle.signature import DType
    from caimi.bundle.tensors import TensorsRefused, check_finite, decode_tensors, encode_tensors

    def work(data: bytes) -> None:
        tensors = decode_tensors(data, max_bytes=_MODEL_BYTES)
        check_finite(tensors)
        if all(tensor.dtype is not DType.BFLOAT16 for tensor in tensors.values()):
            again = encode_tensors(tensors)
            same_bytes(encode_tensors(decode_tensors(again, max_bytes=2 * _MODEL_BYTES)), again)

    return lambda data: refusal_of(partial(work, data), (TensorsRefused,))


def _tensor_seeds() -> list[bytes]:
    from caimi.bundle.signature import DType
    from caimi.bundle.tensors import Tensor, encode_tensors

    one = Tensor(dtype=DType.FLOAT32, shape=(1, 2), data=bytes(8))
    truth = Tensor(dtype=DType.BOOL, shape=(3,), data=b"\0\1\0")
    none = Tensor(dtype=DType.INT64, shape=(0, 4), data=b"")
    return [encode_tensors(named) for named in ({}, {"x": one}, {"x": one, "y": truth, "z": none})]


def _board() -> Check:
    from caimi.crypto.dkg_errors import DkgFault
    from caimi.crypto.dkg_messages import STEPS, Phase, decode_message, encode_message
    from caimi.crypto.dkg_session import DkgSession

    session = DkgSession.from_bytes(unhex(suite("threshold/dkg.json")["session"]))

    def work(data: bytes) -> None:
        if data:
            # The board knows the step apart; here the message says it itself.
            step, sender = data[2:3], data[0] % session.validators.n + 1
            message = decode_message(
                data[1:],
                step=step[0] if step and step[0] in STEPS else Phase.COMMIT,
                session=session,
                sender=sender,
                receivers=session.validators.n,
            )
            same_bytes(encode_message(message, session), data[1:])

    return lambda data: refusal_of(partial(work, data), (DkgFault,))


def _board_seeds() -> list[bytes]:
    read = suite("threshold/dkg.json")
    rows = [message for case in read["cases"] for message in case["messages"]] + read["refusals"]
    return [bytes((row["sender"] - 1,)) + unhex(row["body"]) for row in rows if "body" in row]


def _configuration() -> Check:
    import json

    from caimi.apps.process_config import RelayConfig
    from caimi.apps.strict_json import ConfigRefused, read_json, to_json

    def work(data: bytes) -> None:
        read = read_json(RelayConfig, data.decode("utf-8", "replace"))
        if read_json(RelayConfig, json.dumps(to_json(read))) != read:
            raise AssertionError("what was read is written as something else")

    return lambda data: refusal_of(partial(work, data), (ConfigRefused,))


def _configuration_seeds() -> list[bytes]:
    import json

    from tests.unit.apps.test_process_config import example

    whole = example()
    lacking = {name: value for name, value in whole.items() if name != "network"}
    return [json.dumps(whole).encode(), json.dumps(lacking).encode(), b"[]"]


BYTE_DECODERS: Final[dict[str, Target]] = {
    "certificate": Target(prepare=_certificate, seeds=_certificate_seeds, mutation=change_words, longest=4096),
    "event": Target(prepare=_event, seeds=_event_seeds, mutation=change_words, longest=2048),
    "capsule": Target(
        prepare=_capsule,
        seeds=lambda: list(_hexes(suite("threshold/capsule.json"), "capsule")),
        mutation=change_words,
        longest=256,
    ),
    "manifest": Target(prepare=_manifest, seeds=_manifest_seeds, mutation=change_json, longest=4096),
    "unixfs": Target(prepare=_unixfs, seeds=_unixfs_seeds, mutation=change_messages, longest=4096),
    "onnx": Target(prepare=_onnx, seeds=_onnx_seeds, mutation=change_messages, longest=4096),
    "tensors": Target(prepare=_tensors, seeds=_tensor_seeds, mutation=change_tensors, longest=2048),
    "configuration": Target(prepare=_configuration, seeds=_configuration_seeds, mutation=change_json, longest=8192),
    "board": Target(prepare=_board, seeds=_board_seeds, mutation=change_words, longest=2048),
}
"""By name."""
