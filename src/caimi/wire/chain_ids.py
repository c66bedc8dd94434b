"""Chain and registry identifiers (spec 00 §3)."""

from __future__ import annotations

import re
from typing import Final

from caimi.types.errors import BadEncoding
from caimi.types.primitives import Address, Bytes32
from caimi.wire.keccak import keccak256

__all__ = ["chain_hash", "ethereum_registry", "fabric_chain_id", "fabric_registry", "parse_caip2"]

_CAIP2: Final = re.compile(r"([-a-z0-9]{3,8}):([-_a-zA-Z0-9]{1,32})")


def parse_caip2(text: str) -> tuple[str, str]:
    """Split a CAIP-2 id into namespace and reference.

    Raises:
        BadEncoding: `text` is not a CAIP-2 id.
    """
    match = _CAIP2.fullmatch(text)
    if match is None:
        raise BadEncoding
    return match[1], match[2]


def chain_hash(caip2: str) -> Bytes32:
    """keccak256 of the CAIP-2 id, e.g. of "eip155:31337"."""
    parse_caip2(caip2)
    return keccak256(caip2.encode("ascii"))


def fabric_chain_id(genesis_block_hash: Bytes32) -> str:
    """CAIP-2 id of a Fabric channel: "fabric:" and the first 32 hex digits of its genesis block hash."""
    return "fabric:" + genesis_block_hash.hex()[:32]


def fabric_registry(channel: str, chaincode: str) -> Bytes32:
    """Registry identifier of a chaincode: keccak256("channel/chaincode")."""
    return keccak256(f"{channel}/{chaincode}".encode())


def ethereum_registry(contract: Address) -> Bytes32:
    """Registry identifier of a contract: its address, left-padded with zeros."""
    return Bytes32(contract.rjust(32, b"\0"))
