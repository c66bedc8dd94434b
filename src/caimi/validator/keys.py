"""The key-holding part of a validator: takes part in the key generation, then releases partials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from caimi.crypto.key_share import KeyShare, ThresholdKey
from caimi.ports.clock import Clock
from caimi.ports.key_release import NoShareYet
from caimi.ports.key_vault import KeyVault
from caimi.ports.metrics import GROUP_KEY, RELEASE_SECONDS, RELEASES
from caimi.ports.observer import Observer
from caimi.types.errors import CaimiError
from caimi.types.primitives import Bytes32, Epoch
from caimi.types.records import Publication
from caimi.validator.keygen import GenerationStatus, KeyGeneration
from caimi.validator.release import KeyRelease

__all__ = ["KeyStatus", "PublicKeys", "ValidatorKeys"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeys:
    """What everybody may know of an epoch's key."""

    key: ThresholdKey
    transcript: Bytes32
    """Hash of the key generation's messages (spec 41 §3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """What /v1/status shows."""

    generation: GenerationStatus
    group_key: bytes | None
    """33 bytes, None before there is one."""
    releases: int
    """Leases that got this validator's partial."""


class ValidatorKeys:
    """One validator's keys of one epoch."""

    def __init__(
        self,
        generation: KeyGeneration,
        *,
        epoch: Epoch,
        vault: KeyVault,
        make_release: Callable[[KeyShare], KeyRelease],
        clock: Clock,
        observer: Observer,
    ) -> None:
        """Arguments:
        make_release: makes the releasing part, once there is a share.
        """
        self._generation = generation
        self._epoch = epoch
        self._vault = vault
        self._make_release = make_release
        self._clock = clock
        self._observer = observer
        self._release: KeyRelease | None = None

    async def run(self) -> None:
        """Take part in the key generation until this validator has its share. Raises as `KeyGeneration.run`."""
        share = await self._generation.run()
        self._release = self._make_release(share)

    async def release(self, lease: Bytes32, publication: Publication, capsule: bytes) -> None:
        """See `KeyRelease.release`.

        Raises:
            NoShareYet: The key generation is not over.
        """
        began = self._clock.monotonic()
        try:
            if self._release is None:
                raise NoShareYet(f"phase {self._generation.status().phase}")
            await self._release.release(lease, publication, capsule)
        except CaimiError as error:
            self._observer.count(RELEASES, result=type(error).__name__)
            raise
        self._observer.count(RELEASES, result="released")
        self._observer.observe(RELEASE_SECONDS, self._clock.monotonic() - began)

    def collect(self) -> None:
        """Set the gauge of the key."""
        self._observer.gauge(GROUP_KEY, float(self._generation.share is not None))

    def public(self) -> PublicKeys:
        """The public side of the epoch's key.

        Raises:
            NoShareYet: The key generation is not over.
        """
        share, transcript = self._generation.share, self._vault.transcript(self._epoch)
        if share is None or transcript is None:
            raise NoShareYet(f"phase {self._generation.status().phase}")
        return PublicKeys(key=share.public, transcript=transcript)

    def status(self) -> KeyStatus:
        """See `KeyStatus`."""
        share = self._generation.share
        return KeyStatus(
            generation=self._generation.status(),
            group_key=None if share is None else share.group_key.encode(),
            releases=self._vault.releases(),
        )
