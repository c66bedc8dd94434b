"""Reading JSON of strangers: nesting is bounded before the parser sees it.

The standard parser recurses, and leans on the interpreter's recursion limit, which any library in the process may have
raised (one of Ethereum's does, to 100,000): then deep nesting ends the process instead of raising an error.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["MAX_DEPTH", "JsonTooDeep", "load_json"]

MAX_DEPTH: Final = 64
"""Most arrays and objects inside each other."""

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]', re.DOTALL)


class JsonTooDeep(ValueError):
    """The text nests deeper than `MAX_DEPTH`."""


def load_json(text: str | bytes | bytearray, **hooks: Any) -> Any:
    """Parse JSON as `json.loads` does, with the same hooks. The caller bounds the length.

    Raises:
        JsonTooDeep: Deeper than `MAX_DEPTH`.
        ValueError: Not JSON.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _check_depth(data)
    return json.loads(text, **hooks)


def _check_depth(data: bytes) -> None:
    depth = 0
    for token in _TOKEN.finditer(data):
        first = data[token.start()]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise JsonTooDeep(f"deeper than {MAX_DEPTH}")
        elif first in b"]}":
            depth -= 1
