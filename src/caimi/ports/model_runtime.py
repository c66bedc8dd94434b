"""What runs a model: something behind a wall, that gets plaintext and gives tensors.

* CaimiError
  + RuntimeFailed: it died, took too long or answered nonsense; it is gone
  + RuntimeRefused: it says that this model cannot be loaded, or these inputs cannot be run
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from caimi.bundle.manifest import Manifest
from caimi.bundle.tensors import Tensor
from caimi.types.errors import Blame, CaimiError, Certainty, Retry

__all__ = ["LoadedModel", "ModelRuntime", "RuntimeFailed", "RuntimeRefused"]


class RuntimeFailed(CaimiError):
    """The runtime died, was killed for what it used, or broke the protocol. Whatever it held is gone with it."""

    blame = Blame.PUBLISHER
    retry = Retry.SAFE
    hint = "the model is loaded again by itself; if it stays, raise the host's memory or time limits for models"


class RuntimeRefused(CaimiError):
    """The runtime cannot load this model or run it with these inputs. What it says more is kept inside."""

    blame = Blame.PUBLISHER
    certainty = Certainty.PROVEN
    hint = "run the model with a local onnxruntime and the same inputs to see why"


class LoadedModel(Protocol):
    """One model, loaded."""

    @property
    def is_alive(self) -> bool:
        """Whether it can still be run."""
        ...

    @property
    def keeps_rows_apart(self) -> bool:
        """Whether inputs may be joined along their first dimension (spec 15 §7)."""
        ...

    async def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run tensors through the model; the outputs, by the names of its signature.

        Raises:
            RuntimeFailed, RuntimeRefused, TensorsRefused.
        """
        ...

    async def close(self) -> None:
        """End it; its memory is given back. Safe to call twice."""
        ...


class ModelRuntime(Protocol):
    """Loads models."""

    async def load(self, files: Mapping[str, bytearray], manifest: Manifest) -> LoadedModel:
        """Inspect a model (spec 15 §7) and load it from memory. `files` stay the caller's, who overwrites them.

        Arguments:
            files: the model and its data files, by the manifest's paths; their hashes are right.

        Raises:
            ModelRefused: The inspection refuses it, or it is not what the manifest's signature says.
            RuntimeRefused, RuntimeFailed: The runtime does not take it.
        """
        ...
