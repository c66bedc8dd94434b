"""Answers of the network against onnxruntime in this process, and receipts read back from their files."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from caimi.apps.demo.report import DemoReport, ModelResult, PublicationResult, ReceiptResult
from caimi.apps.demo.scenario import DemoModels, Tell
from caimi.crypto.ecdsa import SigningKey
from caimi.sdk.client import Client
from caimi.sdk.inference import Inference
from caimi.sdk.network import write_json
from caimi.sdk.receipts import read_receipt, receipt_to_json
from caimi.sdk.verification import verify_receipt
from caimi.types.primitives import Bytes32

__all__ = ["TOLERANCE", "infer_all", "matches"]

TOLERANCE: Final = 1e-5
"""Largest difference of a logit, of the largest one."""
_ANSWER_S: Final = 900
_INPUT, _OUTPUT = "image", "logits"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    publication: PublicationResult
    path: Path
    images: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    """What the images show, where that is known."""


def matches(local: NDArray[np.float32], remote: NDArray[np.float32]) -> bool:
    """Whether every input has the same label and no logit differs by more than `TOLERANCE` of the largest one."""
    if local.shape != remote.shape or not np.isfinite(remote).all():
        return False
    same_labels = bool((local.argmax(axis=-1) == remote.argmax(axis=-1)).all())
    return same_labels and bool(np.abs(local - remote).max() <= TOLERANCE * np.abs(local).max())


async def infer_all(
    client: Client,
    models: DemoModels,
    published: dict[str, PublicationResult],
    account: SigningKey,
    report: DemoReport,
    tell: Tell,
) -> tuple[Bytes32, ...]:
    """Ask both models on every ledger, compare, and verify every receipt from its file; returns the requests' ids."""
    cases = (
        _Case(
            publication=published["digits"],
            path=models.digits_path,
            images=models.digits.images,
            labels=models.digits.labels,
        ),
        _Case(
            publication=published["resnet50-generated"],
            path=models.resnet_path,
            images=models.resnet_images,
            labels=None,
        ),
    )
    ids: list[Bytes32] = []
    for case in cases:
        lanes = tuple(client.network.lanes)
        answered = await asyncio.gather(*(_ask(client, case, lane, account, tell) for lane in lanes))
        local = await asyncio.to_thread(_run_locally, case)
        report.models.append(_compared(case, local, [inference.outputs[_OUTPUT] for inference in answered]))
        for lane, inference in zip(lanes, answered, strict=True):
            result = await _verified(client, inference, lane)
            report.receipts.append(result)
            ids.append(result.id)
            tell("infer", f"{case.publication.name} on {lane}: receipt {'holds' if result.verified else 'IS BROKEN'}")
    return tuple(ids)


async def _ask(client: Client, case: _Case, lane: str, account: SigningKey, tell: Tell) -> Inference:
    tell("infer", f"{case.publication.name} on {lane}: {len(case.images)} images, sealed")
    return await client.infer(
        case.publication.id, {_INPUT: case.images}, lane=lane, account=account, deadline_s=_ANSWER_S
    )


def _run_locally(case: _Case) -> NDArray[np.float32]:
    # The library reports its use to its maker unless it is told not to before it is loaded.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # Half a second to import, and needed by this step only.
    import onnxruntime

    session: Any = cast(Any, onnxruntime).InferenceSession(str(case.path), providers=["CPUExecutionProvider"])
    return cast("NDArray[np.float32]", session.run([_OUTPUT], {_INPUT: case.images})[0])


def _compared(case: _Case, local: NDArray[np.float32], remote: list[NDArray[Any]]) -> ModelResult:
    accuracy = None
    if case.labels is not None:
        # Of what the network answered, not of what this process computes.
        accuracy = min(float((logits.argmax(axis=-1) == case.labels).mean()) for logits in remote)
    return ModelResult(
        name=case.publication.name,
        matches_local=all(matches(local, logits) for logits in remote),
        accuracy=accuracy,
    )


async def _verified(client: Client, inference: Inference, lane: str) -> ReceiptResult:
    folder = client.network.home / "receipts"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{inference.verification.request.hex()}.json"
    write_json(path, receipt_to_json(inference.file))
    file = read_receipt(path)
    verification = verify_receipt(
        file,
        trusted_network=client.network.id,
        input_payload=inference.input_payload,
        output_payload=inference.output_payload,
        registry=await client.ask_registry(file),
    )
    return ReceiptResult(
        id=verification.request,
        requested_on=lane,
        verified=verification.is_valid,
        verdicts={finding.link: finding.verdict.value for finding in verification.findings},
    )
