"""The one table of platform names: how npm calls the packages that carry our native binaries.

A row here does not mean support; `tools/bootstrap.py` says what is supported.
"""

from __future__ import annotations

import platform

from .errors import ToolchainError

__all__ = ["foundry_suffix", "platform_name"]

_FOUNDRY_SUFFIX = {
    ("Linux", "x86_64"): "linux-amd64",
    ("Linux", "aarch64"): "linux-arm64",
    ("Darwin", "arm64"): "darwin-arm64",
    ("Darwin", "x86_64"): "darwin-amd64",
}


def platform_name() -> str:
    """Name of this platform as a part of cache keys, for example `Linux-x86_64`."""
    return f"{platform.system()}-{platform.machine()}"


def foundry_suffix() -> str:
    """The end of Foundry's npm package names on this platform, for example `linux-amd64`.

    Raises:
        ToolchainError: Foundry publishes no binaries for this platform.
    """
    try:
        return _FOUNDRY_SUFFIX[platform.system(), platform.machine()]
    except KeyError:
        raise ToolchainError(f"Foundry has no npm package for {platform_name()}; use Linux x86-64") from None
