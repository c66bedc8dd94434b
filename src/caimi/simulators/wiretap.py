"""Listens to all that leaves a process in a simulation, and finds secrets in it."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Wiretap"]

_SHORTEST = 16


class Wiretap:
    """What was heard, and what must not be heard."""

    def __init__(self) -> None:
        self._heard: list[bytes] = []
        self._secrets: dict[bytes, str] = {}

    def heard(self, data: bytes) -> None:
        """Some bytes left a process."""
        self._heard.append(data)

    def protect(self, name: str, secret: bytes) -> None:
        """From now on, and before, nobody may have said `secret`: at least 16 bytes that do not occur by chance.

        Raises:
            ValueError: It is shorter.
        """
        if len(secret) < _SHORTEST:
            raise ValueError(f"{name} is too short to be told from chance")
        self._secrets[secret] = name

    def leaks(self, more: Iterable[bytes], text: str) -> list[str]:
        """Names of the secrets that were heard, are in `more`, or are in `text` as hex."""
        everything = b"\n".join((*self._heard, *more))
        return [name for secret, name in self._secrets.items() if secret in everything or secret.hex() in text]
