"""Choosing TCP ports for a devnet: once, because configurations and the Fabric channel hold them for ever.

They come from below the ranges from which operating systems take the ports of outgoing connections (Linux from
32768, macOS from 49152), so that between two runs no connection of another program sits on one of them.
"""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from collections.abc import Collection
from typing import Final

from caimi.types.failure import Blame, CaimiError, Retry

__all__ = ["PORT_RANGE", "NoFreePorts", "choose_ports"]

PORT_RANGE: Final = range(20_000, 32_000)
"""Ports are chosen from here."""


class NoFreePorts(CaimiError):
    """Too few ports of the range are free on the loopback."""

    blame = Blame.OPERATOR
    retry = Retry.AFTER
    hint = "stop another devnet"


def choose_ports(count: int, *, order: random.Random, taken: Collection[int] = ()) -> list[int]:
    """Return `count` different ports that are free on 127.0.0.1 now, in no order.

    Args:
        order: Where in the range to look first; two devnets started at once should not look at the same place.
        taken: Promised to somebody who does not listen yet.

    Raises:
        NoFreePorts: There are fewer.
    """
    with contextlib.ExitStack() as held:
        found: list[int] = []
        for port in order.sample(PORT_RANGE, len(PORT_RANGE)):
            if port in taken:
                continue
            if len(found) == count:
                break
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                probe.close()
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                continue
            found.append(port)
    if len(found) < count:
        raise NoFreePorts(f"{count} ports wanted, {len(found)} of {len(PORT_RANGE)} are free")
    return found
