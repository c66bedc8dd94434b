"""CAIMI: cross-chain AI model interoperability.

`caimi.Client` and its twin `caimi.SyncClient` are the library; they are loaded when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caimi.sdk.client import Client
    from caimi.sdk.sync_client import SyncClient

__all__ = ["Client", "SyncClient"]


def __getattr__(name: str) -> Any:
    if name == "Client":
        from caimi.sdk.client import Client

        return Client
    if name == "SyncClient":
        from caimi.sdk.sync_client import SyncClient

        return SyncClient
    raise AttributeError(f"module 'caimi' has no attribute {name!r}")
