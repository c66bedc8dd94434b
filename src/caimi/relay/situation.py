"""How a relay's parts are now, for whoever explains what is waited for."""

from __future__ import annotations

from collections.abc import Mapping

from caimi.ports.chain import Head
from caimi.relay.carrier import Carrier
from caimi.relay.follower import Follower
from caimi.relay.sender import Sender
from caimi.relay.waiting import CertificateWait
from caimi.types.primitives import UnixSeconds
from caimi.types.records import Lane

__all__ = ["RelaySituation"]


class RelaySituation:
    """`Situation` of the parts of one relay. Of lanes that it does not serve nothing is known."""

    def __init__(
        self,
        *,
        followers: Mapping[Lane, Follower],
        senders: Mapping[Lane, Sender],
        carriers: Mapping[tuple[Lane, Lane], Carrier],
    ) -> None:
        self._followers = followers
        self._senders = senders
        self._carriers = carriers

    def head(self, lane: Lane) -> Head | None:
        """See `Situation.head`."""
        follower = self._followers.get(lane)
        return follower.head if follower else None

    def final_time(self, lane: Lane) -> UnixSeconds | None:
        """See `Situation.final_time`."""
        follower = self._followers.get(lane)
        return follower.final_time if follower else None

    def reading_trouble(self, lane: Lane) -> str:
        """See `Situation.reading_trouble`."""
        follower = self._followers.get(lane)
        return follower.trouble if follower else ""

    def sending_trouble(self, lane: Lane) -> str:
        """See `Situation.sending_trouble`."""
        sender = self._senders.get(lane)
        return sender.hint if sender else ""

    def certificate_trouble(self, source: Lane, destination: Lane) -> CertificateWait | None:
        """See `Situation.certificate_trouble`."""
        carrier = self._carriers.get((source, destination))
        return carrier.trouble if carrier else None
