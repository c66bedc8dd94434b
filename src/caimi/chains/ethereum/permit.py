"""EIP-2612 permits: how an account lets a registry take its tokens without a transaction of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caimi.chains.ethereum.errors import MalformedAnswer
from caimi.chains.ethereum.fields import as_data, hex_data
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.crypto.ecdsa import SigningKey
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Address, Bytes32, UnixSeconds
from caimi.wire.codec import decode_values, encode_values
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256

__all__ = ["CAIMI_TOKEN_NAME", "Permit", "PermitToken", "permit_digest", "permit_nonce", "sign_funding"]

CAIMI_TOKEN_NAME: Final = "CAIMI test token"
"""EIP-712 name of the token of test networks."""

_DOMAIN_TYPE: Final = keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_PERMIT_TYPE: Final = keccak256(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
_NONCES: Final = keccak256(b"nonces(address)")[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitToken:
    """The token's EIP-712 domain. It comes from the configuration, never from a node that could name another token."""

    chain_id: int
    contract: Address
    name: str = CAIMI_TOKEN_NAME
    version: str = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """What the owner signs."""

    owner: Address
    spender: Address
    """The registry's contract."""
    value: int
    """u256, smallest unit of the token."""
    nonce: int
    """The token's count of the owner's permits so far."""
    deadline: UnixSeconds
    """Last second at which the token accepts it."""


def permit_digest(token: PermitToken, permit: Permit) -> Bytes32:
    """What is signed (EIP-2612).

    Raises:
        BadEncoding: A number does not fit its field.
    """
    kinds = ("bytes32", "bytes32", "bytes32", "uint256", "address")
    name, version = keccak256(token.name.encode()), keccak256(token.version.encode())
    domain = encode_values(kinds, (_DOMAIN_TYPE, name, version, token.chain_id, token.contract))
    struct = encode_values(
        ("bytes32", "address", "address", "uint256", "uint256", "uint256"),
        (_PERMIT_TYPE, permit.owner, permit.spender, permit.value, permit.nonce, permit.deadline),
    )
    return keccak256(b"\x19\x01" + keccak256(domain) + keccak256(struct))


def sign_funding(
    token: PermitToken, key: SigningKey, *, registry: Address, amount: int, nonce: int, deadline: UnixSeconds
) -> bytes:
    """The registry call that moves `amount` (u128) of the key's tokens into its balance there; anyone may send it.

    Raises:
        BadEncoding: A number does not fit its field.
    """
    permit = Permit(owner=key.address, spender=registry, value=amount, nonce=nonce, deadline=deadline)
    signature = key.sign(permit_digest(token, permit))
    return encode_call("fundWithPermit", key.address, amount, deadline, signature.v, signature.r, signature.s)


async def permit_nonce(rpc: RpcClient, token: Address, owner: Address) -> int:
    """The nonce of the owner's next permit, at the tip. A wrong one only makes a permit that nobody can use.

    Raises:
        MalformedAnswer: There is no such token, or the answer is no number.
        ChainUnavailable, RpcFailure, WrongChain: Of the node.
    """
    question = {"to": hex_data(token), "data": hex_data(_NONCES + encode_values(("address",), (owner,)))}
    answer = as_data(await rpc.call("eth_call", question, "latest"), "the permit nonce", limit=32)
    try:
        nonce: int = decode_values(("uint256",), answer)[0]
    except BadEncoding as error:
        raise MalformedAnswer(f"no token at {hex_data(token)}") from error
    return nonce
