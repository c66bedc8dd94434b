"""The vault: sealed at rest, one share an epoch, one release a lease."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from caimi.crypto.errors import WrongPassword
from caimi.crypto.secret_box import SecretBox
from caimi.ports.crash import NoCrash
from caimi.ports.key_vault import KeyStep
from caimi.storage.sqlite_database import StoreInUse
from caimi.storage.sqlite_vault import SqliteKeyVault
from caimi.types.errors import BadLength, OutOfRange
from caimi.types.primitives import ZERO32, Epoch
from caimi.wire.keccak import keccak256
from tests.unit.relay.world import Counter

ONE, TWO = Epoch(1), Epoch(2)


def vault(path: Path, *, password: bytes = b"password", purpose: bytes = b"validator-1") -> SqliteKeyVault:
    return SqliteKeyVault(
        str(path), password=password, purpose=purpose, entropy=Counter("vault"), crash=NoCrash(), cost=14
    )


def test_secrets_are_there_after_a_restart_and_the_state_is_erased(tmp_path: Path) -> None:
    path = tmp_path / "vault"
    first = vault(path)
    first.store_generation_state(KeyStep.GENERATION_STATE, ONE, b"state 1")
    first.store_generation_state(KeyStep.GENERATION_STATE, ONE, b"state 2")
    assert first.generation_state(ONE) == b"state 2"
    assert first.share(ONE) is None
    first.store_share(KeyStep.SHARE_STORED, ONE, b"a share", keccak256(b"transcript"))
    first.record_release(KeyStep.RELEASE_RECORDED, ZERO32, ZERO32, b"sealed")
    first.close()
    second = vault(path)
    assert second.share(ONE) == b"a share"
    assert second.transcript(ONE) == keccak256(b"transcript")
    assert second.generation_state(ONE) is None
    assert (second.released(ZERO32), second.releases()) == (b"sealed", 1)
    second.close()
    assert b"a share" not in path.read_bytes()


@pytest.mark.parametrize("other", [{"password": b"guess"}, {"purpose": b"validator-2"}])
def test_rejects_another_password_or_purpose(tmp_path: Path, other: dict[str, bytes]) -> None:
    vault(tmp_path / "vault").close()
    with pytest.raises(WrongPassword):
        vault(tmp_path / "vault", **other)
    vault(tmp_path / "vault").close()


def test_rejects_a_secret_in_another_place(tmp_path: Path) -> None:
    first = vault(tmp_path / "vault")
    first.store_generation_state(KeyStep.GENERATION_STATE, ONE, b"state")
    first.close()
    connection = sqlite3.connect(tmp_path / "vault")
    connection.execute("UPDATE generation SET epoch = 2")
    connection.commit()
    connection.close()
    second = vault(tmp_path / "vault")
    with pytest.raises(WrongPassword):
        second.generation_state(TWO)
    second.close()


def test_rejects_a_second_process_and_second_records(tmp_path: Path) -> None:
    first = vault(tmp_path / "vault")
    with pytest.raises(StoreInUse):
        vault(tmp_path / "vault")
    first.store_share(KeyStep.SHARE_STORED, ONE, b"share", ZERO32)
    with pytest.raises(sqlite3.IntegrityError):
        first.store_share(KeyStep.SHARE_STORED, ONE, b"another", ZERO32)
    first.record_release(KeyStep.RELEASE_RECORDED, ZERO32, ZERO32, b"sealed")
    with pytest.raises(sqlite3.IntegrityError):
        first.record_release(KeyStep.RELEASE_RECORDED, ZERO32, ZERO32, b"other")
    assert (first.share(ONE), first.released(ZERO32)) == (b"share", b"sealed")
    first.close()


def test_a_box_opens_what_it_sealed_for_that_purpose_only() -> None:
    box = SecretBox(b"password", salt=ZERO32, cost=14)
    sealed = box.seal(b"secret", purpose=b"a", nonce=bytes(12))
    assert SecretBox(b"password", salt=ZERO32, cost=14).open(sealed, purpose=b"a") == b"secret"
    assert "password" not in repr(box)
    for bad in (sealed[:-1], bytes([sealed[0] ^ 1]) + sealed[1:], b"", sealed[:27]):
        with pytest.raises(WrongPassword):
            box.open(bad, purpose=b"a")
    with pytest.raises(WrongPassword):
        box.open(sealed, purpose=b"b")
    with pytest.raises(BadLength):
        box.seal(b"secret", purpose=b"a", nonce=bytes(11))
    for cost in (13, 19):
        with pytest.raises(OutOfRange):
            SecretBox(b"password", salt=ZERO32, cost=cost)
