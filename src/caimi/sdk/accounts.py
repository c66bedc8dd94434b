"""Accounts as key files: an encrypted secp256k1 secret (spec 40 §8)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.errors import MalformedKeystore, WrongPassword
from caimi.crypto.keystore import DEFAULT_COST, decrypt_secret, encrypt_secret
from caimi.sdk.errors import KeyFileError, KeyFileExists, UnknownName
from caimi.types.primitives import Bytes32

__all__ = [
    "ACCOUNT_PURPOSE",
    "account_files",
    "find_account",
    "load_account",
    "load_secret",
    "password_of",
    "read_password",
    "store_account",
    "store_secret",
]

ACCOUNT_PURPOSE: Final = b"account"
"""Purpose under which account keys are encrypted; keys of processes have their own."""
_MAX_BYTES: Final = 1 << 20
_SUFFIX: Final = ".key"


def account_files(home: Path) -> tuple[str, ...]:
    """Names of the accounts in a state folder, in alphabetical order."""
    return tuple(sorted(path.stem for path in (home / "accounts").glob(f"*{_SUFFIX}")))


def find_account(home: Path, account: str) -> SigningKey:
    """The key of an account of the state folder by its name, or of a key file by its path.

    The password is that of `password_of`.

    Raises:
        UnknownName: It is neither.
        KeyFileError: The file cannot be opened.
    """
    for path in (home / "accounts" / f"{account}{_SUFFIX}", Path(account)):
        if path.is_file():
            return load_account(path, password_of(home))
    known = ", ".join(account_files(home)) or "no accounts"
    raise UnknownName(f"{account!r} is no key file, and {home} has {known}")


def password_of(home: Path) -> bytes:
    """The password of key files: of the file that CAIMI_PASSWORD_FILE names, else of the state folder.

    Raises:
        KeyFileError: As `read_password`.
    """
    named = os.environ.get("CAIMI_PASSWORD_FILE")
    return read_password(Path(named) if named else home / "password")


def read_password(path: Path) -> bytes:
    """A password file's first line, without the end of line.

    Raises:
        KeyFileError: It cannot be read, is empty, or others may read it.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by others: chmod 600 {path}")
        lines = path.read_bytes()[:4096].splitlines()
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    if not lines or not lines[0]:
        raise KeyFileError(f"{path} is empty")
    return lines[0]


def load_account(path: Path, password: bytes) -> SigningKey:
    """The key of an account.

    Raises:
        KeyFileError: No such file, another purpose, or a wrong password.
    """
    return SigningKey(load_secret(path, password, purpose=ACCOUNT_PURPOSE))


def store_account(path: Path, key: SigningKey, password: bytes, *, cost: int = DEFAULT_COST) -> None:
    """Write a new account file, readable by its owner only.

    Raises:
        KeyFileExists: There is one already.
        KeyFileError: It cannot be written.
    """
    store_secret(path, key.reveal(), password, purpose=ACCOUNT_PURPOSE, cost=cost)


def load_secret(path: Path, password: bytes, *, purpose: bytes) -> bytes:
    """Decrypt a key file.

    Raises:
        KeyFileError: No such file, another purpose, or a wrong password.
    """
    try:
        with path.open("rb") as file:
            return decrypt_secret(file.read(_MAX_BYTES), password=password, purpose=purpose)
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    except (MalformedKeystore, WrongPassword) as error:
        raise KeyFileError(f"{path}: {type(error).__name__}, purpose {purpose.decode()}") from error


def store_secret(path: Path, secret: bytes, password: bytes, *, purpose: bytes, cost: int = DEFAULT_COST) -> None:
    """Encrypt a secret to a new file that appears whole or not at all.

    Raises:
        KeyFileExists: There is one already.
        KeyFileError: It cannot be written.
    """
    salt, nonce = Bytes32(os.urandom(32)), os.urandom(12)
    blob = encrypt_secret(secret, password=password, purpose=purpose, salt=salt, nonce=nonce, cost=cost)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)  # fails if there is one, unlike a rename
        finally:
            fresh.unlink()
    except FileExistsError:
        raise KeyFileExists(f"there is a {path} already") from None
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from error
