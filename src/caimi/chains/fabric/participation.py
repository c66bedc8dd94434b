"""Joining orderers to the channel through their participation API (what `osnadmin channel join` does)."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final, Protocol

import httpx2

from caimi.chains.fabric.errors import ParticipationError

__all__ = ["OrdererSite", "is_joined", "join_orderer"]

_CHANNELS: Final = "/participation/v1/channels"
_TIMEOUT_S: Final = 15.0


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
    try:
        async with _client(orderer) as client:
            response = await client.get(f"{_CHANNELS}/{channel}")
    except (httpx2.HTTPError, OSError) as error:
        raise ParticipationError(f"{orderer.name} does not answer: {error}") from error
    if response.status_code not in (200, 404):
        raise ParticipationError(f"{orderer.name} answers {response.status_code}: {response.text[:300]}")
    return response.status_code == 200


async def join_orderer(orderer: OrdererSite, genesis_block: bytes) -> None:
    """Give the orderer the channel's genesis block.

    Raises:
        ParticipationError: The orderer refused or could not be asked.
    """
    files = {"config-block": ("config.block", genesis_block, "application/octet-stream")}
    try:
        async with _client(orderer) as client:
            response = await client.post(_CHANNELS, files=files)
    except (httpx2.HTTPError, OSError) as error:
        raise ParticipationError(f"{orderer.name} does not answer: {error}") from error
    if response.status_code != 201:
        raise ParticipationError(f"{orderer.name} answers {response.status_code}: {response.text[:300]}")


def _client(orderer: OrdererSite) -> httpx2.AsyncClient:
    context = ssl.create_default_context(cafile=str(orderer.tls_ca))
    context.load_cert_chain(orderer.tls_certificate, orderer.tls_key)
    # trust_env off: a proxy of the environment must never see the loopback.
    return httpx2.AsyncClient(base_url=orderer.admin_url, verify=context, timeout=_TIMEOUT_S, trust_env=False)
