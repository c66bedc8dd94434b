"""A model runtime whose runs are timed."""

from __future__ import annotations

from collections.abc import Mapping

from caimi.bundle.manifest import Manifest
from caimi.bundle.tensors import Tensor
from caimi.ports.clock import Clock
from caimi.ports.metrics import INFERENCE_SECONDS
from caimi.ports.model_runtime import LoadedModel, ModelRuntime
from caimi.ports.observer import Observer

__all__ = ["TimedRuntime"]


class TimedRuntime:
    """`ModelRuntime` that tells how long each run of its models took; failures are not told of here."""

    def __init__(self, runtime: ModelRuntime, *, clock: Clock, observer: Observer) -> None:
        self._runtime = runtime
        self._clock = clock
        self._observer = observer

    async def load(self, files: Mapping[str, bytearray], manifest: Manifest) -> LoadedModel:
        """See `ModelRuntime.load`."""
        loaded = await self._runtime.load(files, manifest)
        return _TimedModel(loaded, clock=self._clock, observer=self._observer)


class _TimedModel:
    def __init__(self, model: LoadedModel, *, clock: Clock, observer: Observer) -> None:
        self._model = model
        self._clock = clock
        self._observer = observer

    @property
    def is_alive(self) -> bool:
        return self._model.is_alive

    @property
    def keeps_rows_apart(self) -> bool:
        return self._model.keeps_rows_apart

    async def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        began = self._clock.monotonic()
        outputs = await self._model.run(inputs)
        self._observer.observe(INFERENCE_SECONDS, self._clock.monotonic() - began)
        return outputs

    async def close(self) -> None:
        await self._model.close()
