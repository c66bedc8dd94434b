"""Fill the generated blocks of spec/*.md from code. `--check` fails when a block differs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from caimi.protocol.publication import TRANSITIONS
from caimi.types.records import Kind
from caimi.wire.codec import SHAPES, encode_type
from caimi.wire.functions import BODIES, FUNCTIONS, selector
from caimi.wire.keccak import Tag, keccak256

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"<!-- generated: (\w+) -->\n.*?<!-- /generated -->", re.DOTALL)


def tags() -> str:
    """Every domain-separation value."""
    rows = [f"| {t.name} | `{t.value}` |" for t in Tag]
    return "\n".join(["| tag | ASCII |", "|---|---|", *rows])


def records() -> str:
    """EIP-712 type of every record, with its type hash."""
    rows: list[str] = []
    for cls in SHAPES:
        name = cls.__name__
        own = encode_type(name).split(")")[0] + ")"
        rows.append(f"| `{own}` | `{keccak256(encode_type(name).encode()).hex()[:16]}…` |")
    return "\n".join(["| record | type hash |", "|---|---|", *rows])


def kinds() -> str:
    """Event kinds and their bodies."""
    rows = [
        f"| {k.value} | {k.name} | {'`' + ', '.join(BODIES[k]) + '`' if k in BODIES else 'reserved'} |" for k in Kind
    ]
    return "\n".join(["| kind | name | body |", "|---|---|---|", *rows])


def transitions() -> str:
    """The publication state machine."""
    rows = [
        f"| {role.name.lower()} | {state.name} | {happened.value} | {after.name} |"
        for (role, state, happened), after in TRANSITIONS.items()
    ]
    return "\n".join(["| at | from | when | to |", "|---|---|---|---|", *rows])


def functions() -> str:
    """Functions and selectors."""
    rows = [f"| `{n}({', '.join(kinds_)})` | `{selector(n).hex()}` |" for n, kinds_ in FUNCTIONS.items()]
    return "\n".join(["| function | selector |", "|---|---|", *rows])


BLOCKS: dict[str, Callable[[], str]] = {f.__name__: f for f in (tags, records, kinds, transitions, functions)}


def fill(text: str) -> str:
    """The text with every generated block made anew."""
    return BLOCK.sub(lambda m: f"<!-- generated: {m[1]} -->\n{BLOCKS[m[1]]()}\n<!-- /generated -->", text)


def main() -> int:
    """Write the blocks, or with `--check` compare them."""
    stale = [p for p in sorted((ROOT / "spec").glob("*.md")) if fill(p.read_text()) != p.read_text()]
    if "--check" in sys.argv:
        print("\n".join(f"stale: {p.relative_to(ROOT)}; run tools/gen_spec_tables.py" for p in stale))
        return 1 if stale else 0
    for p in stale:
        p.write_text(fill(p.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
