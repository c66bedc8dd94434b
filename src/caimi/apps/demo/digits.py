"""A small classifier of 8x8 digits, trained here on scikit-learn's bundled data, as ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from caimi.apps.demo.graph import linear, save

__all__ = ["HELD_OUT", "Digits", "train_digits"]

HELD_OUT = 360
"""Images kept from training, on which the accuracy is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """The trained model and the images it has not seen."""

    onnx: bytes
    images: NDArray[np.float32]
    """Shape (360, 64), 0 to 1."""
    labels: NDArray[np.int64]
    """Shape (360,)."""


def train_digits(*, seed: int) -> Digits:
    """Train a perceptron 64-64-10 and export it: input `image` (N, 64) float32, output `logits` (N, 10)."""
    # scikit-learn is needed by the demonstration only, and costs a second to import.
    from sklearn.datasets import load_digits  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
    from sklearn.neural_network import MLPClassifier  # pyright: ignore[reportMissingTypeStubs]

    data = cast(Any, load_digits())
    images = (np.asarray(data.data) / 16.0).astype(np.float32)
    labels = np.asarray(data.target).astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(images))
    held, train = order[:HELD_OUT], order[HELD_OUT:]
    network: Any = MLPClassifier(hidden_layer_sizes=(64,), max_iter=400, random_state=seed)
    network.fit(images[train], labels[train])
    weights: list[NDArray[np.float32]] = [np.asarray(w).astype(np.float32) for w in network.coefs_]
    biases: list[NDArray[np.float32]] = [np.asarray(b).astype(np.float32) for b in network.intercepts_]
    nodes, initializers = linear("image", "hidden", weights[0], biases[0], rectify=True)
    more, also = linear("hidden", "logits", weights[1], biases[1], rectify=False)
    onnx = save("digits", nodes + more, initializers + also, ("image", [None, 64]), ("logits", [None, 10]))
    return Digits(onnx=onnx, images=images[held], labels=labels[held])
