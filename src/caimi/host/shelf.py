"""Loaded models, each under a lease that is renewed with its key: what validators no longer release is not served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from caimi.bundle.manifest import Manifest
from caimi.host.key_client import KeyClient
from caimi.host.leases import Lease, LeaseDesk
from caimi.host.loading import is_final, open_model
from caimi.host.publications import KnownPublication
from caimi.host.telling import public_text
from caimi.ports.clock import Clock
from caimi.ports.content import ContentStore
from caimi.ports.host_store import HostStore, ShelfRow
from caimi.ports.metrics import LEASE_CALLS, LEASE_LOOKUPS, LEASE_SECONDS, LEASES, LOAD_SECONDS
from caimi.ports.model_runtime import LoadedModel, ModelRuntime
from caimi.ports.observer import Observer
from caimi.types.errors import CaimiError
from caimi.types.primitives import Bytes32, UnixSeconds

__all__ = ["ModelLease", "ModelShelf", "ShelfLimits", "ShelvedModel"]

_RENEW_AGAIN_S: Final = 15.0
"""After a lease could not be renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelfLimits:
    """How much a host holds."""

    models: int = 4
    """Loaded at a time; the one that was not used for the longest makes room."""
    content_bytes: int = 1 << 30
    """Of one publication's ciphertext, and of its files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelvedModel:
    """What /v1/models shows."""

    publication: KnownPublication
    manifest: Manifest
    lease: Bytes32
    lease_end: UnixSeconds
    opening: Bytes32
    """The request for which the lease was opened."""
    calls_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLease:
    """A loaded model and the lease under which it may be run as often as was asked for."""

    lease: Bytes32
    model: LoadedModel
    manifest: Manifest


@dataclass(slots=True)
class _Place:
    publication: KnownPublication
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    lease: Lease | None = None
    is_released: bool = False
    model: LoadedModel | None = None
    manifest: Manifest | None = None
    failure: CaimiError | None = None
    users: int = 0
    renewal: asyncio.Task[None] | None = None
    renew_at: float = 0.0


class ModelShelf:
    """The models of one start of a host."""

    def __init__(
        self,
        limits: ShelfLimits,
        *,
        desk: LeaseDesk,
        keys: KeyClient,
        content: ContentStore,
        runtime: ModelRuntime,
        store: HostStore,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._limits = limits
        self._desk = desk
        self._keys = keys
        self._content = content
        self._runtime = runtime
        self._store = store
        self._clock = clock
        self._observer = observer
        for found in ("model", "lease", "key", "held"):
            observer.count(LEASE_LOOKUPS, 0, found=found)
        # Least recently used first.
        self._places: dict[Bytes32, _Place] = {}

    @asynccontextmanager
    async def use(
        self, publication: KnownPublication, *, opening: Bytes32, calls: int = 1
    ) -> AsyncGenerator[ModelLease]:
        """A loaded model for so many answers; loads it and opens a lease where that is due.

        Arguments:
            opening: the request for which it is.
            calls: counted against the lease; 0 only to have the model loaded.
        Raises:
            KeyRefused, KeyNotReleased, NoGroupKey, CapsuleRefused: Of `KeyClient.fetch`.
            Refusal, ChainUnavailable: Of the board.
            ContentError, BundleError, NotAModel: Of `open_model` and the inspection.
            RuntimeFailed, RuntimeRefused: Of the runtime.
        """
        place = self._places.pop(publication.id, None) or _Place(publication=publication)
        self._places[publication.id] = place
        place.users += 1
        try:
            async with place.lock:
                await self._ready(place, opening, calls)
                lease, model, manifest = place.lease, place.model, place.manifest
                if lease is None or model is None or manifest is None:
                    raise RuntimeError("a place that is ready lacks a part")
                lease.calls_left -= calls
                self._renew_if_due(place, lease, opening)
            yield ModelLease(lease=lease.id, model=model, manifest=manifest)
        finally:
            place.users -= 1
            if not place.users and place.lease is None and place.failure is None:
                self._places.pop(publication.id, None)

    def shown(self) -> tuple[ShelvedModel, ...]:
        """The loaded models."""
        return tuple(
            ShelvedModel(
                publication=place.publication,
                manifest=place.manifest,
                lease=place.lease.id,
                lease_end=place.lease.record.end,
                opening=place.lease.record.opening,
                calls_left=place.lease.calls_left,
            )
            for place in self._places.values()
            if place.lease is not None and place.model is not None and place.manifest is not None
        )

    def collect(self) -> None:
        """Set the gauges of the leases."""
        shown, now = self.shown(), self._clock.now()
        self._observer.gauge(LEASES, len(shown))
        self._observer.gauge(LEASE_CALLS, min((one.calls_left for one in shown), default=0))
        self._observer.gauge(LEASE_SECONDS, max(0, min((one.lease_end - now for one in shown), default=0)))

    async def close(self) -> None:
        """End all models."""
        for place in self._places.values():
            if place.renewal is not None:
                place.renewal.cancel()
            if place.model is not None:
                await place.model.close()
        self._places.clear()

    async def _ready(self, place: _Place, opening: Bytes32, calls: int) -> None:
        if place.failure is not None:
            raise place.failure
        is_loaded = place.model is not None and place.model.is_alive
        has_lease = place.lease is not None and place.lease.is_good(self._clock.now(), calls)
        found = "model" if not is_loaded else "lease" if not has_lease else "held" if place.is_released else "key"
        self._observer.count(LEASE_LOOKUPS, found=found)
        if place.lease is None or not has_lease:
            place.lease, place.is_released = None, False
            with self._stage("lease"):
                place.lease = await self._desk.open(place.publication.id, opening=opening)
        if is_loaded and place.is_released:
            return
        # Also for a model that is loaded: a new lease counts only with a new release.
        with self._stage("key"):
            combined = await self._keys.fetch(place.lease, place.publication)
        place.is_released = True
        if is_loaded:
            self._remember()
            return
        if place.model is not None:
            await place.model.close()
            place.model = None
        try:
            place.model, place.manifest = await self._load(place.publication, combined.data_key)
        except CaimiError as error:
            # The same bytes under the same key will not become another model.
            if is_final(error):
                place.failure = error
            raise
        await self._make_room(place)
        self._remember()

    def _remember(self) -> None:
        # For the next start, which has other keys: it opens leases of its own for what is in use now.
        self._store.put_shelf(
            [
                ShelfRow(publication=one.publication.id, opening=one.opening, lease_end=one.lease_end)
                for one in self.shown()
            ]
        )

    def _renew_if_due(self, place: _Place, lease: Lease, opening: Bytes32) -> None:
        # Opening a lease and fetching its key takes seconds, for which nobody should wait.
        if place.renewal is not None or self._clock.monotonic() < place.renew_at or not lease.is_due(self._clock.now()):
            return
        place.renewal = asyncio.create_task(self._renew(place, lease, opening))

    async def _renew(self, place: _Place, present: Lease, opening: Bytes32) -> None:
        publication = place.publication
        try:
            with self._stage("lease"):
                lease = await self._desk.open(publication.id, opening=opening)
            with self._stage("key"):
                await self._keys.fetch(lease, publication)
        except CaimiError as error:
            # The present one serves to its end; what is wrong then is told to whoever asks then.
            place.renew_at = self._clock.monotonic() + _RENEW_AGAIN_S
            cause = f"{type(error).__name__}: {public_text(error)}"
            self._observer.step("host.not_renewed", publication="0x" + publication.id.hex(), cause=cause)
        else:
            if place.lease is present:
                place.lease, place.is_released = lease, True
                self._remember()
        finally:
            place.renewal = None

    async def _load(self, publication: KnownPublication, data_key: bytes) -> tuple[LoadedModel, Manifest]:
        with self._stage("open"):
            opened = await open_model(
                self._content, publication.record, data_key, max_content_bytes=self._limits.content_bytes
            )
        try:
            with self._stage("start"):
                model = await self._runtime.load(opened.files, opened.manifest)
        finally:
            opened.wipe()
        self._observer.step("host.loaded", publication="0x" + publication.id.hex())
        return model, opened.manifest

    @contextmanager
    def _stage(self, name: str) -> Generator[None]:
        # Only what succeeded: a refusal after milliseconds would make loading look quick.
        began = self._clock.monotonic()
        yield
        self._observer.observe(LOAD_SECONDS, self._clock.monotonic() - began, stage=name)

    async def _make_room(self, kept: _Place) -> None:
        loaded = [place for place in self._places.values() if place.model is not None]
        idle = [place for place in loaded if place is not kept and not place.users]
        for place in idle[: max(0, len(loaded) - self._limits.models)]:
            model, place.model = place.model, None
            if model is not None:
                await model.close()
            self._observer.step("host.unloaded", publication="0x" + place.publication.id.hex())
