"""Joining orderers to the channel through their participation API (what `osnadmin channel join` does)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from caimi.chains.fabric.errors import ParticipationError

__all__ = ["OrdererSite", "is_joined", "join_orderer"]

_CHANNELS: Final = "/participation/v1/channels"
_TIMEOUT_S: Final = 15.0
_MAX_ANSWER_BYTES: Final = 300


class OrdererSite(Protocol):
    """Where an orderer's administration listens and with which files to reach it."""

    @property
    def name(self) -> str:
        """Name for messages."""
        ...

    @property
    def admin_url(self) -> str:
        """`https://host:port` of the administration listener."""
        ...

    @property
    def tls_ca(self) -> Path:
        """PEM of the authority that issued the orderer's TLS certificate."""
        ...

    @property
    def tls_certificate(self) -> Path:
        """PEM of the client certificate that the listener demands."""
        ...

    @property
    def tls_key(self) -> Path:
        """PEM of its key."""
        ...


async def is_joined(orderer: OrdererSite, channel: str) -> bool:
    """Tell whether the orderer has the channel.

    Raises:
        ParticipationError: The orderer could not be asked.
    """
    status, text = await asyncio.to_thread(_request, orderer, "GET", f"{_CHANNELS}/{channel}", b"", {})
    if status not in (200, 404):
        raise ParticipationError(f"{orderer.name} answers {status}: {text}")
    return status == 200


async def join_orderer(orderer: OrdererSite, genesis_block: bytes) -> None:
    """Give the orderer the channel's genesis block.

    Raises:
        ParticipationError: The orderer refused or could not be asked.
    """
    # A boundary that depends on the content cannot be contained in it.
    boundary = f"caimi-{hashlib.sha256(genesis_block).hexdigest()}"
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="config-block"; filename="config.block"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + genesis_block + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    status, text = await asyncio.to_thread(_request, orderer, "POST", _CHANNELS, body, headers)
    if status != 201:
        raise ParticipationError(f"{orderer.name} answers {status}: {text}")


def _request(orderer: OrdererSite, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
    # The standard library in a thread: a cancelled bring-up lets it end, where an asynchronous client would
    # leave half-open TLS connections behind. It knows no proxies, so the loopback stays the loopback.
    host, _, port = orderer.admin_url.removeprefix("https://").rpartition(":")
    try:
        context = ssl.create_default_context(cafile=str(orderer.tls_ca))
        context.load_cert_chain(orderer.tls_certificate, orderer.tls_key)
        connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=_TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.read(_MAX_ANSWER_BYTES).decode(errors="replace")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ParticipationError(f"{orderer.name} does not answer: {error}") from error
