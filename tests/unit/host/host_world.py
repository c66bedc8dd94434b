"""A host on simulated ledgers: real validators, relay, board and content; the runtime is in this process."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from caimi.bundle.framing import manifest_commitment
from caimi.bundle.manifest import BundleKind, FileEntry, Framework, Manifest, Role, encode_manifest
from caimi.bundle.onnx_inspect import InspectedModel, inspect_model, verify_signature
from caimi.bundle.opener import SealEntropy, seal_bundle
from caimi.bundle.signature import DType, ModelSignature, TensorSpec
from caimi.bundle.stream import content_key
from caimi.bundle.tensors import Tensor, decode_tensors, encode_tensors
from caimi.crypto.capsule import Capsule
from caimi.crypto.inference_seal import Salted, input_commitment, open_output, seal_input
from caimi.crypto.key_share import ThresholdKey
from caimi.crypto.sealing import SealingKey
from caimi.host.answering import Answerer
from caimi.host.identity import HostIdentity, make_identity
from caimi.host.key_client import KeyClient
from caimi.host.leases import LeaseDesk, LeaseTerms
from caimi.host.model_server import Batching
from caimi.host.publications import Publications
from caimi.host.service import Host, HostTuning
from caimi.host.serving import DirectServing, ServingLimits
from caimi.host.shelf import ModelShelf, ShelfLimits
from caimi.host.tensor_checks import TensorLimits
from caimi.ports.clock import Clock
from caimi.ports.crash import CrashPoints, NoCrash
from caimi.ports.host_relay import PublicationUnknown, PublishedBytes, SignedBytes
from caimi.ports.host_store import RequestRow, RequestState
from caimi.ports.key_release import KeyReleasePort
from caimi.ports.model_runtime import RuntimeFailed
from caimi.ports.validators import ValidatorUnavailable
from caimi.simulators.board import SimulatedBoardNode
from caimi.storage.memory import MemoryBlockStore
from caimi.storage.sqlite_host import SqliteHostStore
from caimi.storage.transfer import Content
from caimi.types.primitives import ZERO32, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import Cid, InferenceRequest, Publication
from caimi.validator.release import KeyRelease
from caimi.wire.codec import decode, encode
from caimi.wire.digests import typed_digest
from caimi.wire.keccak import keccak256
from tests.unit.bundle.onnx_models import constant, make_node, model, value
from tests.unit.relay.world import Counter, StepClock, key
from tests.unit.validator.key_world import DATA_KEY, EPOCH, KeyValidator, KeyWorld

# The library has no types.
_RUNTIME: Any = onnxruntime
WEIGHTS = np.arange(8, dtype="float32").reshape(4, 2)


@cache
def model_bytes() -> bytes:
    """x [N, 4] times a constant gives y [N, 2]."""
    nodes = [make_node("MatMul", ["x", "w"], ["y"])]
    made = model(
        nodes, inputs=[value("x", ["N", 4])], outputs=[value("y", ["N", 2])], constants=[constant("w", WEIGHTS)]
    )
    return made.SerializeToString()


SIGNATURE = ModelSignature(
    inputs=(TensorSpec(name="x", dtype=DType.FLOAT32, shape=("N", 4)),),
    outputs=(TensorSpec(name="y", dtype=DType.FLOAT32, shape=("N", 2)),),
)


def tensors(values: Any, name: str = "x") -> bytes:
    """One float32 tensor as safetensors bytes."""
    array = np.asarray(values, dtype="float32")
    return encode_tensors({name: Tensor(dtype=DType.FLOAT32, shape=array.shape, data=array.tobytes())})


INPUT = np.asarray([[1, 2, 3, 4], [0, 1, 0, -1]], dtype="float32")


class FlowClock:
    """The world's time, which passes while somebody waits for it."""

    def __init__(self, clock: StepClock) -> None:
        self._clock = clock
        self.stands_still = False
        """For what waits for a thread: only real time passes."""

    def now(self) -> UnixSeconds:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        if self.stands_still:
            await asyncio.sleep(0.001)
            return
        self._clock.advance(seconds)
        for _ in range(5):
            await asyncio.sleep(0)


class InlineModel:
    """A model in this process."""

    def __init__(self, runtime: InlineRuntime, session: Any, found: InspectedModel) -> None:
        self._runtime = runtime
        self._session = session
        self._signature = found.signature
        self.keeps_rows_apart = found.keeps_rows_apart
        self.is_alive = True

    async def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not self.is_alive:
            raise RuntimeFailed("the runner is gone")
        if self._runtime.crashes:
            self._runtime.crashes -= 1
            self.is_alive = False
            raise RuntimeFailed("killed")
        if self._runtime.nonsense is not None:
            return self._runtime.nonsense
        self._runtime.batches.append(max((t.shape[0] for t in inputs.values() if t.shape), default=1))
        arrays = self._session.run(None, {name: tensor.array() for name, tensor in inputs.items()})
        return {
            spec.name: Tensor(dtype=spec.dtype, shape=array.shape, data=array.tobytes())
            for spec, array in zip(self._signature.outputs, arrays, strict=True)
        }

    async def close(self) -> None:
        self.is_alive = False


class InlineRuntime:
    """`ModelRuntime` without a process of its own; the real one has its own tests."""

    def __init__(self) -> None:
        self.crashes = 0
        self.nonsense: dict[str, Tensor] | None = None
        self.batches: list[int] = []
        self.given: list[bytearray] = []
        self.seen: list[bytes] = []
        self.models: list[InlineModel] = []

    async def load(self, files: Mapping[str, bytearray], manifest: Manifest) -> InlineModel:
        model = files[manifest.files_of(Role.MODEL)[0].path]
        self.given += files.values()
        self.seen.append(bytes(model))
        found = inspect_model(model)
        assert manifest.signature is not None
        verify_signature(manifest.signature, found.signature)
        session = _RUNTIME.InferenceSession(bytes(model), providers=["CPUExecutionProvider"])
        self.models.append(InlineModel(self, session, found))
        return self.models[-1]


class InlineValidator:
    """`KeyReleasePort` of a validator in this process."""

    def __init__(self, validator: KeyValidator) -> None:
        self.validator = validator
        self.is_up = True
        self.asked = 0
        self._release: KeyRelease | None = None

    async def public_key(self) -> ThresholdKey:
        if not self.is_up:
            raise ValidatorUnavailable("down")
        share = self.validator.generation.share
        assert share is not None
        return share.public

    async def release(self, lease: Bytes32, publication: bytes, capsule: bytes) -> None:
        self.asked += 1
        if not self.is_up:
            raise ValidatorUnavailable("down")
        if self._release is None:
            self._release = self.validator.release()
        await self._release.release(lease, decode(Publication, publication), capsule)


class InlineRelay:
    """`HostRelay` over a relay in this process."""

    def __init__(self, world: HostWorld) -> None:
        self._world = world
        self.given: dict[Bytes32, PublishedBytes] = {}
        """What it says in place of what it has."""
        self.answers: list[SignedBytes] = []

    async def publication(self, identifier: Bytes32) -> PublishedBytes:
        if identifier in self.given:
            return self.given[identifier]
        row = self._world.keys.chains.stores[0].publication(PublicationId(identifier))
        if row is None or row.publication is None or row.capsule is None:
            raise PublicationUnknown("0x" + identifier.hex())
        return PublishedBytes(publication=row.publication, capsule=row.capsule)

    async def answer(self, signed: SignedBytes) -> None:
        self.answers.append(signed)
        intake = self._world.keys.chains.relays[0].intake
        await intake.answer(signed.answer, signed.signature, signed.host_key, signed.operator_signature)

    async def request(self, request: bytes, signature: bytes) -> None:
        await self._world.keys.chains.relays[0].intake.request(request, signature)


@dataclasses.dataclass(slots=True)
class Asked:
    """A request and what the consumer keeps."""

    id: Bytes32
    record: InferenceRequest
    signature: bytes
    salted: Salted
    client: SealingKey


class HostWorld:
    """Everything around one host."""

    def __init__(self, folder: Path | None = None, *, crash: CrashPoints | None = None) -> None:
        self.keys = KeyWorld()
        self.clock = FlowClock(self.keys.chains.clock)
        self.blocks = MemoryBlockStore()
        self.content = Content(sources=[self.blocks], store=self.blocks)
        self.runtime = InlineRuntime()
        self.relay = InlineRelay(self)
        self.consumer = key("consumer")
        self.board = SimulatedBoardNode(board=self.keys.board)
        self.validators: list[InlineValidator] = []
        self.path = ":memory:" if folder is None else str(folder / "host.sqlite")
        self.terms = LeaseTerms()
        self.shelf_limits = ShelfLimits()
        self.tuning = HostTuning()
        self.serving_limits = ServingLimits()
        self.batching = Batching()
        self.crash = crash
        self.starts = 0
        self._requests = 0

    async def __aenter__(self) -> HostWorld:
        await self.keys.generate()
        await self.keys.chains.fund("fabric", 500)
        self.validators = [InlineValidator(validator) for validator in self.keys.validators]
        self.start(self.crash)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.serving.close()
        await self.shelf.close()
        self.store.close()
        self.keys.__exit__()

    def start(self, crash: CrashPoints | None = None) -> None:
        """A start of the host, with fresh keys."""
        self.starts += 1
        chains = self.keys.chains
        entropy = Counter(f"host {self.starts}")
        self.identity: HostIdentity = make_identity(
            key("operator"), network=chains.network, epoch=EPOCH, now=chains.clock.now(), entropy=entropy
        )
        self.store = SqliteHostStore(self.path, crash=crash or NoCrash())
        self.entropy = entropy
        self.desk = self.make_desk(self.clock)
        self.key_client = self.make_key_client({v.validator.index: v for v in self.validators})
        self.shelf = ModelShelf(
            self.shelf_limits,
            desk=self.desk,
            keys=self.key_client,
            content=self.content,
            runtime=self.runtime,
            store=self.store,
            clock=self.clock,
            observer=chains.observer,
        )
        answerer = self._answerer(entropy)
        self.host = Host(
            self.identity,
            lanes=[chains.port(name, "host") for name in chains.ledgers],
            root=chains.lane("fabric"),
            answerer=answerer,
            relay=self.relay,
            store=self.store,
            clock=self.clock,
            observer=chains.observer,
            tuning=self.tuning,
        )

    def _answerer(self, entropy: Counter) -> Answerer:
        # And what answers direct calls.
        tensor_limits = TensorLimits(input_bytes=4096, output_bytes=4096)
        publications = Publications(self.keys.chains.network, self.relay)
        self.serving = DirectServing(
            self.identity,
            dataclasses.replace(self.serving_limits, tensors=tensor_limits),
            self.batching,
            publications=publications,
            shelf=self.shelf,
            clock=self.clock,
            entropy=entropy,
            observer=self.keys.chains.observer,
        )
        return Answerer(
            self.identity,
            tensor_limits,
            publications=publications,
            shelf=self.shelf,
            content=self.content,
            clock=self.clock,
            entropy=entropy,
        )

    def make_desk(self, clock: Clock) -> LeaseDesk:
        """Of the present keys, at the present board."""
        return LeaseDesk(
            self.identity,
            self.terms,
            board=self.board,
            lane=self.keys.board.lane,
            clock=clock,
            entropy=self.entropy,
            observer=self.keys.chains.observer,
        )

    def make_key_client(
        self, ports: Mapping[int, KeyReleasePort], *, clock: Clock | None = None, patience_s: float = 3.0
    ) -> KeyClient:
        """Of the present keys, over any validators."""
        return KeyClient(
            self.identity,
            validators=self.keys.session.validators,
            ports=ports,
            board=self.board,
            clock=clock or self.clock,
            observer=self.keys.chains.observer,
            patience_s=patience_s,
        )

    async def restart(self, crash: CrashPoints | None = None) -> None:
        """The process was killed and starts again, with other keys."""
        self.serving.close()
        await self.shelf.close()
        self.store.close()
        self.start(crash)

    # --- publishing

    def manifest(self, data: bytes, signature: ModelSignature | None = SIGNATURE) -> Manifest:
        """Of one file; a dataset if it has no signature."""
        is_model = signature is not None
        role = Role.MODEL if is_model else Role.DATA
        return Manifest(
            kind=BundleKind.MODEL if is_model else BundleKind.DATASET,
            framework=Framework.ONNX if is_model else Framework.NONE,
            files=(FileEntry(path="file", size=len(data), sha256=Bytes32(hashlib.sha256(data).digest()), role=role),),
            signature=signature,
            licence_sha256=ZERO32,
        )

    async def upload(
        self, data: bytes, manifest: Manifest, change: Callable[[bytes], bytes] | None = None
    ) -> tuple[Cid, Bytes32]:
        """The ciphertext's CID and the manifest's commitment; `change` spoils the ciphertext before it is stored."""
        entropy = SealEntropy(manifest_salt=keccak256(b"m"), stream_salt=keccak256(b"s"), stream_prefix=b"prefix!")
        segments = seal_bundle(content_key(DATA_KEY), manifest, entropy=entropy, contents=[[data]])
        ciphertext = b"".join(bytes(segment) for segment in segments)
        root = await self.content.upload([change(ciphertext) if change else ciphertext])
        return root.cid, manifest_commitment(entropy.manifest_salt, encode_manifest(manifest))

    async def publish(
        self,
        data: bytes | None = None,
        *,
        signature: ModelSignature | None = SIGNATURE,
        change: Callable[[bytes], bytes] | None = None,
        **fields: Any,
    ) -> PublicationId:
        """A committed publication of a model, whose capsule the relay has."""
        plain = model_bytes() if data is None else data
        cid, commitment = await self.upload(plain, self.manifest(plain, signature), change)
        fields = {"ciphertext": cid, "manifest_commitment": commitment, **fields}
        record, signed, identifier, capsule = self.keys.publication(**fields)
        await self.commit(record, signed, identifier, capsule)
        return identifier

    async def commit(self, record: Publication, signature: bytes, identifier: PublicationId, capsule: Capsule) -> None:
        """Publish it and wait until both ledgers committed it; the relay has the capsule."""
        intake = self.keys.chains.relays[0].intake
        await intake.publish(encode(record), signature, capsule.to_bytes())
        await self.keys.commit(record, signature, identifier)

    # --- asking

    async def ask(
        self,
        publication: Bytes32,
        payload: bytes | None = None,
        *,
        lane: str = "fabric",
        sealed_for: Bytes32 | None = None,
        host: Bytes32 | None = None,
        sealed: bytes | None = None,
        **fields: Any,
    ) -> Asked:
        """A request that its ledger has accepted, finally."""
        self._requests += 1
        salted = Salted(
            salt=keccak256(b"salt" + bytes([self._requests])), payload=tensors(INPUT) if payload is None else payload
        )
        if sealed is None:
            sealed = seal_input(
                salted, host=host or self.identity.key.sealing_key, publication=sealed_for or publication
            )
        client = SealingKey(keccak256(b"client" + bytes([self._requests])))
        root = await self.content.upload([sealed])
        record = InferenceRequest(
            at=self.keys.chains.lane(lane),
            publication=publication,
            consumer=self.consumer.address,
            input=root.cid,
            input_commitment=input_commitment(salted),
            client_key=client.public_key,
            nonce=keccak256(b"nonce" + bytes([self._requests])),
            deadline=UnixSeconds(self.clock.now() + 300),
        )
        record = dataclasses.replace(record, **fields)
        identifier = typed_digest(self.keys.chains.network, record)
        signature = self.consumer.sign(identifier).to_bytes()
        asked = Asked(id=identifier, record=record, signature=signature, salted=salted, client=client)
        await self.relay.request(encode(record), signature)
        await self.keys.chains.until(lambda: identifier in self.keys.chains.ledgers[lane].tip.registry.state.requests)
        for _ in range(3):
            await self.keys.chains.step()
        return asked

    def row(self, asked: Asked) -> RequestRow:
        """What the host has of it."""
        row = self.store.request(asked.id)
        assert row is not None
        return row

    async def turns(self, count: int = 1) -> None:
        """The host works, time passes, the ledgers go on."""
        for _ in range(count):
            await self.host.turn()
            await self.keys.chains.step()

    async def until_settled(self, *asked: Asked, turns: int = 40) -> tuple[RequestRow, ...]:
        """Work until nothing more will happen to these requests."""
        rows: list[RequestRow | None] = []
        for _ in range(turns):
            await self.turns()
            rows = [self.store.request(one.id) for one in asked]
            if all(row is not None and row.state.is_settled for row in rows):
                return tuple(row for row in rows if row is not None)
        raise AssertionError([(row.state, row.reason, self.host.trouble(row.id)) for row in rows if row is not None])

    async def output(self, asked: Asked) -> np.ndarray[Any, Any]:
        """The answer as the consumer opens it."""
        row = self.row(asked)
        assert row.state is RequestState.ANSWERED
        assert row.signed is not None
        stream = await self.content.open(row.signed.output, max_content_bytes=1 << 20)
        sealed = b"".join([bytes(leaf) async for leaf in stream])
        opened = open_output(sealed, key=asked.client, request=asked.id)
        return decode_tensors(opened.payload, max_bytes=1 << 20)["y"].array()

    def steps(self, name: str) -> Sequence[dict[str, Any]]:
        """What the observer was told."""
        return self.keys.chains.observer.named(name)
