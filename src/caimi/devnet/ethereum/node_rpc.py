"""JSON-RPC with the supervisor's own Ethereum node: questions of a few fields to a process that it started itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self, cast

import httpx2

__all__ = ["NodeFailed", "NodeRpc"]

_SECONDS: Final = 5.0
_HEADERS: Final = {"content-type": "application/json"}


class NodeFailed(Exception):
    """The node does not answer, or answers with an error."""


class NodeRpc:
    """One connection. For a thread of its own: it blocks."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx2.Client(timeout=_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def ask(self, method: str, *parameters: Any) -> Any:
        """One question.

        Raises:
            NodeFailed: See there.
        """
        return self.ask_all([(method, parameters)])[0]

    def ask_all(self, questions: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """Several in one exchange; raises as `ask`."""
        asked = [{"jsonrpc": "2.0", "id": i, "method": m, "params": p} for i, (m, p) in enumerate(questions)]
        try:
            response = self._client.post(self._url, content=json.dumps(asked), headers=_HEADERS)
            answers = {one["id"]: one for one in cast("list[dict[str, Any]]", response.json())}
            for number in range(len(asked)):
                if "error" in answers[number]:
                    raise NodeFailed(f"{questions[number][0]}: {answers[number]['error']}")
            return [answers[number]["result"] for number in range(len(asked))]
        except (httpx2.HTTPError, ValueError, TypeError, KeyError) as error:
            raise NodeFailed(f"{questions[0][0]}: {type(error).__name__}: {error}") from error
