"""Transactions and permits against eth-account, byte for byte."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from caimi.chains.ethereum.permit import CAIMI_TOKEN_NAME, Permit, PermitToken, permit_digest, sign_funding
from caimi.chains.ethereum.transaction import Transaction, read_transaction, sign_transaction
from caimi.crypto.ecdsa import SigningKey, recover
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Address, UnixSeconds
from caimi.wire.functions import decode_call
from caimi.wire.keccak import keccak256

_KEY = SigningKey.from_entropy(keccak256(b"sender"))
_TO = Address(keccak256(b"to")[12:])

_transactions = st.builds(
    Transaction,
    chain_id=st.integers(1, 2**53),
    nonce=st.integers(0, 2**64 - 2),
    max_priority_fee=st.integers(0, 2**100),
    max_fee=st.integers(2**100, 2**120),
    gas=st.integers(21_000, 2**63),
    to=st.none() | st.binary(min_size=20, max_size=20).map(Address),
    data=st.binary(max_size=300),
    value=st.integers(0, 2**128),
)


@given(_transactions)
def test_signed_transaction_is_that_of_eth_account(transaction: Transaction) -> None:
    account: Any = Account
    fields: dict[str, Any] = {
        "type": 2,
        "chainId": transaction.chain_id,
        "nonce": transaction.nonce,
        "maxPriorityFeePerGas": transaction.max_priority_fee,
        "maxFeePerGas": transaction.max_fee,
        "gas": transaction.gas,
        "data": transaction.data,
        "value": transaction.value,
    }
    if transaction.to is not None:
        fields["to"] = transaction.to
    theirs = account.sign_transaction(fields, _KEY.reveal())
    ours = sign_transaction(transaction, _KEY)
    assert ours.raw == bytes(theirs.raw_transaction)
    assert ours.hash == bytes(theirs.hash)
    assert account.recover_transaction(ours.raw) == account.from_key(_KEY.reveal()).address
    assert read_transaction(ours.raw) == transaction


def test_rejects_a_negative_number() -> None:
    with pytest.raises(BadEncoding):
        sign_transaction(
            Transaction(chain_id=1, nonce=-1, max_priority_fee=0, max_fee=0, gas=0, to=_TO, data=b""), _KEY
        )


_LAWFUL = sign_transaction(
    Transaction(chain_id=1, nonce=1, max_priority_fee=1, max_fee=2, gas=21_000, to=_TO, data=b"x"), _KEY
).raw


@pytest.mark.parametrize(
    "raw", [b"", b"\x01" + _LAWFUL[1:], _LAWFUL[:-1], _LAWFUL + b"\0", b"\x02\xc0", b"\x02\x80", b"\x02"]
)
def test_rejects_what_is_no_transaction_of_ours(raw: bytes) -> None:
    with pytest.raises(BadEncoding):
        read_transaction(raw)


_TOKEN = PermitToken(chain_id=31_337, contract=Address(keccak256(b"token")[12:]))
_PERMIT = Permit(owner=_KEY.address, spender=_TO, value=12_345, nonce=7, deadline=UnixSeconds(1_900_000_000))


def test_permit_digest_is_that_of_eth_account() -> None:
    encode: Any = encode_typed_data
    message = encode(
        {
            "name": CAIMI_TOKEN_NAME,
            "version": "1",
            "chainId": 31_337,
            "verifyingContract": "0x" + _TOKEN.contract.hex(),
        },
        {
            "Permit": [
                {"name": "owner", "type": "address"},
                {"name": "spender", "type": "address"},
                {"name": "value", "type": "uint256"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
            ]
        },
        {
            "owner": "0x" + _PERMIT.owner.hex(),
            "spender": "0x" + _PERMIT.spender.hex(),
            "value": _PERMIT.value,
            "nonce": _PERMIT.nonce,
            "deadline": _PERMIT.deadline,
        },
    )
    expected = keccak256(b"\x19" + message.version + message.header + message.body)
    assert permit_digest(_TOKEN, _PERMIT) == expected


@pytest.mark.parametrize(
    "changes", [{"owner": _TO}, {"spender": _KEY.address}, {"value": 1}, {"nonce": 8}, {"deadline": UnixSeconds(1)}]
)
def test_permit_binds_every_field(changes: dict[str, Any]) -> None:
    assert permit_digest(_TOKEN, dataclasses.replace(_PERMIT, **changes)) != permit_digest(_TOKEN, _PERMIT)


@pytest.mark.parametrize("changes", [{"chain_id": 1}, {"contract": _TO}, {"name": "another"}, {"version": "2"}])
def test_permit_binds_the_token(changes: dict[str, Any]) -> None:
    assert permit_digest(dataclasses.replace(_TOKEN, **changes), _PERMIT) != permit_digest(_TOKEN, _PERMIT)


def test_funding_call_carries_the_owners_permit() -> None:
    deadline = UnixSeconds(1_900_000_000)
    call = sign_funding(_TOKEN, _KEY, registry=_TO, amount=12_345, nonce=7, deadline=deadline)
    name, (account, amount, until, v, r, s) = decode_call(call)
    assert (name, account, amount, until) == ("fundWithPermit", _KEY.address, 12_345, deadline)
    assert recover(permit_digest(_TOKEN, _PERMIT), r + s + bytes((v,))) == _KEY.address
