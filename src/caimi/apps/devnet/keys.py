"""The keys of a devnet: made once, encrypted under the password file of the state folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from caimi.apps.devnet.folder import DevnetPlan, StateFolder
from caimi.apps.process_config import KeyFile
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.keystore import MIN_COST
from caimi.sdk.accounts import ACCOUNT_PURPOSE, load_secret, read_password, store_secret
from caimi.types.primitives import Address, Bytes32

__all__ = ["ACCOUNTS", "DEPLOYER", "OPERATOR", "RELAY_SENDER", "DevnetKeys", "key_file", "make_keys", "validator_name"]

OPERATOR: Final = "host-operator"
"""Signs the host's keys at each of its starts."""
RELAY_SENDER: Final = "relay-sender"
"""Pays for the relay's Ethereum transactions."""
DEPLOYER: Final = "deployer"
"""Creates contracts and issues the test tokens of both ledgers."""
ACCOUNTS: Final = ("publisher", "consumer")
"""Accounts for trying things out; tokens are given to them at the start."""


def validator_name(index: int) -> str:
    """Name of the validator with that share index."""
    return f"validator-{index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevnetKeys:
    """Who is who."""

    validators: tuple[Address, ...]
    operator: Address
    relay_sender: Address
    deployer: SigningKey
    accounts: dict[str, Address]


def key_file(folder: StateFolder, name: str) -> KeyFile:
    """How a process's configuration names its key."""
    return KeyFile(file=folder.key(name), password_file=folder.password, purpose=f"{name}/signing")


def make_keys(folder: StateFolder, plan: DevnetPlan) -> DevnetKeys:
    """Make the keys that are missing and read all of them.

    Raises:
        KeyFileError: One cannot be read or written.
    """
    password = read_password(folder.password)

    def process_key(name: str) -> SigningKey:
        named = key_file(folder, name)
        return _key(named.file, password, named.purpose.encode())

    return DevnetKeys(
        validators=tuple(process_key(validator_name(i)).address for i in range(1, plan.n + 1)),
        operator=process_key(OPERATOR).address,
        relay_sender=process_key(RELAY_SENDER).address,
        deployer=process_key(DEPLOYER),
        accounts={name: _key(folder.account(name), password, ACCOUNT_PURPOSE).address for name in ACCOUNTS},
    )


def _key(file: Path, password: bytes, purpose: bytes) -> SigningKey:
    if not file.is_file():
        key = SigningKey.from_entropy(Bytes32(os.urandom(32)))
        # The password is random: the cost of guessing it does not rest on scrypt.
        store_secret(file, key.reveal(), password, purpose=purpose, cost=MIN_COST)
        return key
    return SigningKey(load_secret(file, password, purpose=purpose))
