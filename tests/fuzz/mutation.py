"""Changes that keep an input's outer form, so that what is inside gets tried too.

Blind changes of bytes break an offset, a length or a quotation mark nearly always, and never come past it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final, TypeAlias, cast

__all__ = ["Mutation", "change_json", "change_messages", "change_tensors", "change_words"]

Mutation: TypeAlias = Callable[[bytes, Random], bytes]
"""Makes another input of one; may fail to change it."""

_WORD: Final = 32
_LENGTH: Final = 8
_NUMBERS: Final = (0, 1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 1024, 4096, 4097, 2**16, 2**31 - 1, 2**31)
_LARGE: Final = (2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**128 - 1, 2**128, 2**255, 2**256 - 1)
_TEXTS: Final = ("", "0x", "\0", "a", "..", "é", "\ud800", "0x" + "00" * 20, "0x" + "ff" * 32, "x" * 300)
_DEEPEST: Final = 12


def change_words(data: bytes, random: Random, *, head: int = 0) -> bytes:
    """Change some of the 32-byte words of an ABI encoding that begins after `head` bytes."""
    words = [data[at : at + _WORD] for at in range(head, len(data), _WORD)] or [bytes(_WORD)]
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(words))
        match random.randrange(7):
            case 0:
                words[at] = random.choice(_NUMBERS + _LARGE).to_bytes(_WORD, "big")
            case 1:
                moved = int.from_bytes(words[at], "big") + random.choice((-32, -1, 1, 32))
                words[at] = (moved % 2**256).to_bytes(_WORD, "big")
            case 2:
                words[at] = random.choice(words)
            case 3:
                words.insert(at, random.choice(words))
            case 4 if len(words) > 1:
                del words[at]
            case 5:
                end = min(len(words), at + random.randrange(1, 9))
                words[end:end] = words[at:end]
            case _:
                words[at] = _one_bit(words[at], random)
    return data[:head] + b"".join(words)


def change_messages(data: bytes, random: Random) -> bytes:
    """Change one field at any depth of a protocol-buffer message; the lengths around it stay right."""
    return _change_message(data, random, _DEEPEST)


def change_json(data: bytes, random: Random) -> bytes:
    """Change one value of a JSON document, written again in canonical form; bytes inside 0x hex as words."""
    try:
        document: Any = json.loads(data)
    except ValueError:
        return _one_bit(data, random)
    changed = _change_value(document, random, _DEEPEST)
    text = json.dumps(changed, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode("utf-8", "surrogatepass")


def change_tensors(data: bytes, random: Random) -> bytes:
    """Change the JSON header of a safetensors file, whose length stays right, or a byte of what follows it."""
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    if end > len(data) or random.randrange(10) == 0:
        return _one_bit(data, random)
    header, content = change_json(data[_LENGTH:end], random), data[end:]
    if random.randrange(4) == 0:
        content = content + random.randbytes(random.choice((1, 4, 8))) if random.randrange(2) else content[:-1]
    return len(header).to_bytes(_LENGTH, "little") + header + content


def _one_bit(data: bytes, random: Random) -> bytes:
    if not data:
        return b"\0"
    out = bytearray(data)
    out[random.randrange(len(out))] ^= 1 << random.randrange(8)
    return bytes(out)


def _change_message(data: bytes, random: Random, depth: int) -> bytes:
    fields = _fields(data)
    if not fields:
        return _one_bit(data, random) if random.randrange(4) else data + random.randbytes(random.randrange(9))
    at = random.randrange(len(fields))
    key, value = fields[at]
    kind = random.randrange(10)
    if kind == 0:
        del fields[at]
    elif kind == 1:
        fields.insert(random.randrange(len(fields) + 1), fields[at])
    elif kind == 2:
        other = random.randrange(len(fields))
        fields[at], fields[other] = fields[other], fields[at]
    elif kind == 3:
        fields[at] = (random.randrange(1, 40) << 3 | key & 7, value)
    elif isinstance(value, int):
        fields[at] = (key, random.choice((*_NUMBERS, 2**63 - 1, 2**64 - 1, value ^ 1, value + 1)))
    elif kind < 9 and depth and _fields(value):
        fields[at] = (key, _change_message(value, random, depth - 1))
    elif kind % 2:
        fields[at] = (key, _one_bit(value, random))
    else:
        fields[at] = (key, value[: random.randrange(len(value) + 1)] or random.randbytes(random.randrange(40)))
    return b"".join(_field(key, value) for key, value in fields)


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    # Empty for what is no message of numbers and byte strings.
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        value, at = _number(data, at)
        if at > len(data):
            return []
        if key & 7 == 0:
            found.append((key, value))
        elif key & 7 == 2 and value <= len(data) - at:
            found.append((key, data[at : at + value]))
            at += value
        else:
            return []
    return found


def _number(data: bytes, at: int) -> tuple[int, int]:
    # A place beyond the end says that there was none.
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    return 0, len(data) + 1


def _field(key: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _encoded(key) + _encoded(value)
    return _encoded(key) + _encoded(len(value)) + value


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _change_value(value: Any, random: Random, depth: int) -> Any:
    if isinstance(value, dict) and value and depth and random.randrange(8):
        return _change_object(cast("dict[str, Any]", value), random, depth)
    if isinstance(value, list) and value and depth and random.randrange(8):
        return _change_list(cast("list[Any]", value), random, depth)
    if isinstance(value, str) and random.randrange(4):
        return _change_text(value, random)
    if isinstance(value, int) and random.randrange(3):
        return random.choice((value + 1, value - 1, -value, *_NUMBERS, *_LARGE))
    others: list[Any] = [None, True, False, 0, -1, 1.5, 2**53, [], {}, [value], {"kind": value}, *_TEXTS]
    return random.choice(others)


def _change_object(value: dict[str, Any], random: Random, depth: int) -> dict[str, Any]:
    out, name = dict(value), random.choice(list(value))
    match random.randrange(8):
        case 0:
            del out[name]
        case 1:
            out[random.choice(("", "kind", "type", "x", name + "x"))] = out[name]
        case 2:
            out[name] = out[random.choice(list(value))]
        case _:
            out[name] = _change_value(out[name], random, depth - 1)
    return out


def _change_list(value: list[Any], random: Random, depth: int) -> list[Any]:
    out, at = list(value), random.randrange(len(value))
    match random.randrange(8):
        case 0:
            del out[at]
        case 1:
            out.insert(random.randrange(len(out) + 1), out[at])
        case 2:
            other = random.randrange(len(out))
            out[at], out[other] = out[other], out[at]
        case _:
            out[at] = _change_value(out[at], random, depth - 1)
    return out


def _change_text(text: str, random: Random) -> str:
    if text.startswith("0x") and random.randrange(8):
        try:
            return "0x" + change_words(bytes.fromhex(text[2:]), random).hex()
        except ValueError:
            pass
    at = random.randrange(len(text) + 1)
    piece = random.choice((*_TEXTS, "/", "\\", "\t", " ", "Z", "\u0301"))
    return text[:at] + piece + text[at + random.randrange(3) :]
