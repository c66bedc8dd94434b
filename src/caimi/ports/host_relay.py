"""What a host asks of a relay: signed bytes to load by, and to carry its answers. A relay is believed nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from caimi.types.errors import Blame, CaimiError, Certainty, Retry
from caimi.types.primitives import Bytes32

__all__ = ["HostRelay", "PublicationUnknown", "PublishedBytes", "RelayUnavailable", "SignedBytes"]


class RelayUnavailable(CaimiError):
    """The relay does not answer, or not as its interface says."""

    blame = Blame.RELAY
    retry = Retry.SAFE
    hint = "the relay is asked again by itself; see its /v1/status"


class PublicationUnknown(CaimiError):
    """The relay has no signed bytes or no capsule of that publication."""

    blame = Blame.PUBLISHER
    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "the publisher brings them by POST /v1/publications with the capsule; `caimi publish` does so"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedBytes:
    """As the relay has them: to be checked by hash."""

    publication: bytes
    """The ABI-encoded `Publication`."""
    capsule: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBytes:
    """An answer with everything that the registry checks."""

    answer: bytes
    """The ABI-encoded `Answer`."""
    signature: bytes
    host_key: bytes
    """The ABI-encoded `HostKey`."""
    operator_signature: bytes


class HostRelay(Protocol):
    """One relay."""

    async def publication(self, identifier: Bytes32) -> PublishedBytes:
        """The bytes of a publication.

        Raises:
            PublicationUnknown, RelayUnavailable.
        """
        ...

    async def answer(self, signed: SignedBytes) -> None:
        """Hand an answer over; repeating is harmless.

        Raises:
            Refusal, UnknownLane: The relay will not carry it.
            RelayUnavailable: It may or may not have it.
        """
        ...

    async def request(self, request: bytes, signature: bytes) -> None:
        """Hand a consumer's signed `InferenceRequest` over; repeating is harmless. Raises as `answer`."""
        ...
