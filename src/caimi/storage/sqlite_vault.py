"""`KeyVault` on SQLite: secrets are sealed under a key that one password gives; every commit is forced to the disk."""

from __future__ import annotations

from typing import Any, Final

from caimi.crypto.keystore import DEFAULT_COST
from caimi.crypto.secret_box import SecretBox
from caimi.ports.clock import Entropy
from caimi.ports.crash import CrashPoints
from caimi.ports.key_vault import KeyStep
from caimi.storage.sqlite_database import Durability, SqliteDatabase
from caimi.types.primitives import Bytes32, Epoch

__all__ = ["SqliteKeyVault"]

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE box (one INTEGER PRIMARY KEY CHECK (one = 1), salt BLOB NOT NULL, cost INTEGER NOT NULL,
  probe BLOB NOT NULL) STRICT;
CREATE TABLE generation (epoch INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
CREATE TABLE share (epoch INTEGER PRIMARY KEY, sealed BLOB NOT NULL, transcript BLOB NOT NULL) STRICT;
CREATE TABLE release (lease BLOB PRIMARY KEY, publication BLOB NOT NULL, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID
"""
_PROBE: Final = b"caimi key vault"
_NONCE: Final = 12


class SqliteKeyVault:
    """The secrets of one validator, in one file."""

    def __init__(
        self,
        path: str,
        *,
        password: bytes,
        purpose: bytes,
        entropy: Entropy,
        crash: CrashPoints,
        cost: int = DEFAULT_COST,
    ) -> None:
        """Open or create the file.

        Arguments:
            purpose: names the process, such as b"validator-2/vault"; has to be the same to open the file again.
            cost: of scrypt, for a new file.
        Raises:
            WrongPassword: The file was made under another password or purpose.
            StoreInUse, StoreVersionUnknown: See `caimi.storage.sqlite_database`.
        """
        self._purpose = purpose
        self._entropy = entropy
        self._database = SqliteDatabase(
            path, schema=_SCHEMA, version=_VERSION, durability=Durability.POWER_LOSS, crash=crash
        )
        # What is erased is overwritten in the file and not only unlinked.
        self._database.rows("PRAGMA secure_delete=ON")
        try:
            self._box = self._open_box(password, cost)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def generation_state(self, epoch: Epoch) -> bytes | None:
        """See `KeyVault`."""
        return self._secret("generation", epoch)

    def store_generation_state(self, step: KeyStep, epoch: Epoch, state: bytes) -> None:
        """See `KeyVault`."""
        sealed = self._sealed("generation", epoch, state)
        with self._database.step(step) as cursor:
            cursor.execute("INSERT OR REPLACE INTO generation VALUES (?, ?)", (epoch, sealed))

    def share(self, epoch: Epoch) -> bytes | None:
        """See `KeyVault`."""
        return self._secret("share", epoch)

    def transcript(self, epoch: Epoch) -> Bytes32 | None:
        """See `KeyVault`."""
        row: Any = self._database.row("SELECT transcript FROM share WHERE epoch = ?", epoch)
        return None if row is None else Bytes32(row[0])

    def store_share(self, step: KeyStep, epoch: Epoch, share: bytes, transcript: Bytes32) -> None:
        """See `KeyVault`. A share of that epoch that is there already is an error: none is ever replaced."""
        sealed = self._sealed("share", epoch, share)
        with self._database.step(step) as cursor:
            cursor.execute("INSERT INTO share VALUES (?, ?, ?)", (epoch, sealed, transcript))
            cursor.execute("DELETE FROM generation WHERE epoch = ?", (epoch,))
        # The log of writes still holds the erased state.
        self._database.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def released(self, lease: Bytes32) -> bytes | None:
        """See `KeyVault`."""
        row: Any = self._database.row("SELECT sealed FROM release WHERE lease = ?", lease)
        return None if row is None else row[0]

    def record_release(self, step: KeyStep, lease: Bytes32, publication: Bytes32, sealed: bytes) -> None:
        """See `KeyVault`. A lease that has one already is an error."""
        with self._database.step(step) as cursor:
            cursor.execute("INSERT INTO release VALUES (?, ?, ?)", (lease, publication, sealed))

    def releases(self) -> int:
        """See `KeyVault`."""
        row: Any = self._database.row("SELECT count(*) FROM release")
        return row[0]

    def _open_box(self, password: bytes, cost: int) -> SecretBox:
        row: Any = self._database.row("SELECT salt, cost, probe FROM box")
        if row is not None:
            box = SecretBox(password, salt=row[0], cost=row[1])
            box.open(row[2], purpose=self._purpose)
            return box
        salt = Bytes32(self._entropy.take(32))
        box = SecretBox(password, salt=salt, cost=cost)
        probe = box.seal(_PROBE, purpose=self._purpose, nonce=self._entropy.take(_NONCE))
        with self._database.step(KeyStep.VAULT_MADE) as cursor:
            cursor.execute("INSERT INTO box VALUES (1, ?, ?, ?)", (salt, cost, probe))
        return box

    def _place(self, table: str, epoch: Epoch) -> bytes:
        return self._purpose + b"/" + table.encode() + b"/" + epoch.to_bytes(8, "big")

    def _sealed(self, table: str, epoch: Epoch, secret: bytes) -> bytes:
        return self._box.seal(secret, purpose=self._place(table, epoch), nonce=self._entropy.take(_NONCE))

    def _secret(self, table: str, epoch: Epoch) -> bytes | None:
        row: Any = self._database.row(f"SELECT sealed FROM {table} WHERE epoch = ?", epoch)
        return None if row is None else self._box.open(row[0], purpose=self._place(table, epoch))
