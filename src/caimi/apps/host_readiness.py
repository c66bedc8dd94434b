"""What a host misses: its lanes, relay and content store, the network's key, its own keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from caimi.apps.reachability import Reachability
from caimi.apps.readiness import stale_lanes
from caimi.host.key_client import KeyClient
from caimi.host.service import Host
from caimi.types.errors import CaimiError
from caimi.types.records import Lane

__all__ = ["HostReadiness"]


class HostReadiness:
    """The check behind a host's /readyz."""

    def __init__(
        self, host: Host, keys: KeyClient, *, lanes: Mapping[str, Lane], others: Sequence[Reachability]
    ) -> None:
        """Arguments:
        others: processes without which nothing is answered.
        """
        self._host = host
        self._keys = keys
        self._names = {lane: name for name, lane in lanes.items()}
        self._others = tuple(others)

    async def missing(self) -> list[str]:
        """One sentence for each thing; nothing if requests can be answered."""
        unread = {self._names[lane]: seconds for lane, seconds in self._host.unread_seconds().items()}
        found = stale_lanes(unread, {})
        for other in self._others:
            found += await other.missing()
        try:
            self._host.check_keys()
            await self._keys.public_key()
        except CaimiError as error:
            found.append(f"{type(error).__name__}: {error}")
        return found
