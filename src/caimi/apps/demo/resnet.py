"""ResNet-50 (He et al. 2015, arXiv 1512.03385) with GENERATED weights: right in shape and cost, trained on nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from onnx import helper

from caimi.apps.demo.graph import initializer, linear, save

__all__ = ["make_resnet50"]

_STAGES: Final = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
# (width, blocks, stride of the first block); each block ends four times as wide.


@dataclass
class _Writer:
    rng: np.random.Generator
    nodes: list[Any] = field(default_factory=list[Any])
    weights: list[Any] = field(default_factory=list[Any])

    def convolution(self, source: str, target: str, channels: tuple[int, int], kernel: int, stride: int) -> str:
        # Batch normalisation is folded into weight and bias, as deployed models have it.
        inside, outside = channels
        scale = np.sqrt(2.0 / (inside * kernel * kernel))
        shape = (outside, inside, kernel, kernel)
        self.weights += [
            initializer(
                f"{target}.weight", (self.rng.standard_normal(shape, dtype=np.float32) * scale).astype(np.float32)
            ),
            initializer(f"{target}.bias", np.zeros(outside, dtype=np.float32)),
        ]
        pad = kernel // 2
        self.nodes.append(
            helper.make_node(
                "Conv",
                [source, f"{target}.weight", f"{target}.bias"],
                [target],
                kernel_shape=[kernel, kernel],
                strides=[stride, stride],
                pads=[pad, pad, pad, pad],
            )
        )
        return target

    def rectified(self, source: str) -> str:
        self.nodes.append(helper.make_node("Relu", [source], [f"{source}.relu"]))
        return f"{source}.relu"

    def block(self, source: str, name: str, inside: int, width: int, stride: int) -> str:
        a = self.rectified(self.convolution(source, f"{name}.a", (inside, width), 1, 1))
        b = self.rectified(self.convolution(a, f"{name}.b", (width, width), 3, stride))
        c = self.convolution(b, f"{name}.c", (width, 4 * width), 1, 1)
        if inside != 4 * width:
            source = self.convolution(source, f"{name}.skip", (inside, 4 * width), 1, stride)
        # Damping each sum keeps the activations of fifty layers in range without any training.
        self.weights.append(initializer(f"{name}.half", np.array(0.71, dtype=np.float32)))
        self.nodes.append(helper.make_node("Add", [c, source], [f"{name}.sum"]))
        self.nodes.append(helper.make_node("Mul", [f"{name}.sum", f"{name}.half"], [f"{name}.out"]))
        return self.rectified(f"{name}.out")


def make_resnet50(*, seed: int) -> bytes:
    """ONNX of about 95 MB: input `image` (N, 3, H, W) float32, output `logits` (N, 1000)."""
    writer = _Writer(np.random.default_rng(seed))
    current = writer.rectified(writer.convolution("image", "stem", (3, 64), 7, 2))
    writer.nodes.append(
        helper.make_node("MaxPool", [current], ["pool"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    )
    current, inside = "pool", 64
    for stage, (width, blocks, stride) in enumerate(_STAGES):
        for number in range(blocks):
            current = writer.block(current, f"s{stage}b{number}", inside, width, stride if number == 0 else 1)
            inside = 4 * width
    writer.nodes.append(helper.make_node("GlobalAveragePool", [current], ["mean"]))
    writer.nodes.append(helper.make_node("Flatten", ["mean"], ["features"]))
    weight = (writer.rng.standard_normal((inside, 1000), dtype=np.float32) / np.sqrt(inside)).astype(np.float32)
    nodes, weights = linear("features", "logits", weight, np.zeros(1000, dtype=np.float32), rectify=False)
    return save(
        "resnet50-generated",
        writer.nodes + nodes,
        writer.weights + weights,
        ("image", [None, 3, "height", "width"]),
        ("logits", [None, 1000]),
    )
