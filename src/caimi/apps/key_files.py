"""Signing keys of processes: encrypted files, with the password in another file."""

from __future__ import annotations

import stat
from pathlib import Path

from caimi.apps.process_config import KeyFile
from caimi.apps.strict_json import ConfigRefused
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.keystore import DEFAULT_COST, decrypt_secret, encrypt_secret
from caimi.ports.clock import Entropy
from caimi.types.primitives import Bytes32

__all__ = ["open_key", "read_password", "save_key"]


def open_key(file: KeyFile) -> SigningKey:
    """Decrypt a key.

    Raises:
        ConfigRefused: A file is missing or readable by others.
        MalformedKeystore, WrongPassword, BadSecret: Its content is not what it should be.
    """
    password = read_password(file.password_file)
    return SigningKey(decrypt_secret(_read(file.file), password=password, purpose=file.purpose.encode()))


def save_key(key: SigningKey, file: KeyFile, *, entropy: Entropy, cost: int = DEFAULT_COST) -> None:
    """Encrypt a key into a new file of mode 0600; the password file is there already.

    Raises:
        ConfigRefused: The password file is missing or readable by others.
        FileExistsError: There is a key already: it is never overwritten.
    """
    password = read_password(file.password_file)
    sealed = encrypt_secret(
        key.reveal(),
        password=password,
        purpose=file.purpose.encode(),
        salt=Bytes32(entropy.take(32)),
        nonce=entropy.take(12),
        cost=cost,
    )
    file.file.touch(mode=0o600, exist_ok=False)
    file.file.write_bytes(sealed)


def read_password(path: Path) -> bytes:
    """A password file's bytes without a final newline.

    Raises:
        ConfigRefused: It is missing or readable by others.
    """
    return _read(path).removesuffix(b"\n")


def _read(path: Path) -> bytes:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_bytes()
    except OSError as error:
        raise ConfigRefused(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigRefused(f"{path}: mode {mode:o}, expected 600")
    return content
