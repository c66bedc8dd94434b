"""A client for a command: at once an error if nobody has started the network, and patient with what is restarted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from caimi.cli.output import Terminal

if TYPE_CHECKING:
    from caimi.sdk.client import Client

__all__ = ["open_client"]


def open_client(folder: Path, terminal: Terminal) -> Client:
    """The client of a state folder; what it waits for is progress.

    Raises:
        NoNetwork, OtherFormat, MalformedFile: See `read_network`.
        NotRunning: The network does not run.
    """
    from caimi.apps.devnet.running import check_running
    from caimi.sdk.client import Client
    from caimi.sdk.network import read_network

    network = read_network(folder)
    check_running(folder)
    return Client(network, waiting=terminal.say)
