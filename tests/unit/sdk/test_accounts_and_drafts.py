"""Key files and drafts: who opens them, and what an interruption leaves."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from caimi.crypto.capsule import seal_key
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.keystore import MIN_COST
from caimi.crypto.secp256k1 import GROUP
from caimi.sdk.accounts import (
    account_files,
    find_account,
    load_account,
    load_secret,
    password_of,
    read_password,
    store_account,
    store_secret,
)
from caimi.sdk.drafts import Draft, DraftFolder, RequestDraft, draft_name, request_draft_name
from caimi.sdk.errors import KeyFileError, KeyFileExists, MalformedDraft, UnknownName
from caimi.sdk.publishing import SEED_BYTES, PublicationSeed, SignedPublication
from caimi.types.primitives import ZERO32, Address, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import NO_TERMS, Cid, Lane, Publication
from tests.unit.sdk.receipt_fixture import receipt_file

_PASSWORD = b"a password"
_KEY = SigningKey.from_entropy(Bytes32(b"\x01" * 32))


def _home(folder: Path) -> Path:
    (folder / "password").write_bytes(_PASSWORD + b"\n")
    (folder / "password").chmod(0o600)
    store_account(folder / "accounts" / "alice.key", _KEY, _PASSWORD, cost=MIN_COST)
    return folder


def test_an_account_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    home = _home(tmp_path)
    assert find_account(home, "alice").address == _KEY.address
    assert find_account(home, str(home / "accounts" / "alice.key")).address == _KEY.address
    assert account_files(home) == ("alice",)


def test_rejects_an_unknown_account(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="alice"):
        find_account(_home(tmp_path), "bob")


def test_the_named_password_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, other = _home(tmp_path), tmp_path / "other"
    other.write_bytes(b"another\n")
    other.chmod(0o600)
    monkeypatch.setenv("CAIMI_PASSWORD_FILE", str(other))
    assert password_of(home) == b"another"
    with pytest.raises(KeyFileError):
        find_account(home, "alice")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_rejects_a_password_file_that_others_may_read(tmp_path: Path, mode: int) -> None:
    home = _home(tmp_path)
    (home / "password").chmod(mode)
    with pytest.raises(KeyFileError, match="chmod"):
        read_password(home / "password")


def test_rejects_an_empty_or_absent_password_file(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError):
        read_password(tmp_path / "password")
    (tmp_path / "password").write_bytes(b"\n")
    (tmp_path / "password").chmod(0o600)
    with pytest.raises(KeyFileError):
        read_password(tmp_path / "password")


def test_a_key_file_is_never_overwritten_and_its_owners_alone(tmp_path: Path) -> None:
    home = _home(tmp_path)
    path = home / "accounts" / "alice.key"
    before = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyFileExists):
        store_account(path, _KEY, _PASSWORD, cost=MIN_COST)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["alice.key"]


def test_rejects_a_key_of_another_purpose(tmp_path: Path) -> None:
    store_secret(tmp_path / "k", _KEY.reveal(), _PASSWORD, purpose=b"validator-1/signing", cost=MIN_COST)
    assert load_secret(tmp_path / "k", _PASSWORD, purpose=b"validator-1/signing") == _KEY.reveal()
    with pytest.raises(KeyFileError, match="WrongPassword"):
        load_account(tmp_path / "k", _PASSWORD)


def test_rejects_a_key_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(b"hello")
    with pytest.raises(KeyFileError, match="MalformedKeystore"):
        load_account(tmp_path / "k", _PASSWORD)


def _signed(seed: PublicationSeed, deadline: int) -> SignedPublication:
    lane = Lane(chain=Bytes32(b"\x01" * 32), registry=Bytes32(b"\x02" * 32))
    publication = Publication(
        format=1,
        kind=1,
        publisher=_KEY.address,
        name="m",
        version=1,
        ciphertext=Cid(codec=0x70, digest=Bytes32(b"\x03" * 32)),
        capsule_hash=Bytes32(b"\x04" * 32),
        manifest_commitment=Bytes32(b"\x05" * 32),
        policy_hash=ZERO32,
        home=lane,
        mirrors=(replace(lane, registry=Bytes32(b"\x06" * 32)),),
        terms=NO_TERMS,
        deposit=1,
        nonce=seed.nonce,
        deadline=UnixSeconds(deadline),
        extension_hash=ZERO32,
    )
    capsule = seal_key(GROUP.generator, label=ZERO32, data_key=seed.data_key, entropy=seed.capsule_entropy)
    return SignedPublication(
        id=PublicationId(Bytes32(b"\x07" * 32)), publication=publication, signature=bytes(65), capsule=capsule
    )


def _seed() -> PublicationSeed:
    return PublicationSeed.from_bytes(bytes(range(1, 256))[:SEED_BYTES])


def test_a_seed_is_its_bytes() -> None:
    fresh = os.urandom(SEED_BYTES)
    assert PublicationSeed.from_bytes(fresh).to_bytes() == fresh


def test_a_draft_is_taken_up_again_and_then_dropped(tmp_path: Path) -> None:
    drafts = DraftFolder(tmp_path / "drafts", _PASSWORD)
    first = drafts.take("a")
    assert not (tmp_path / "drafts").exists()  # what is refused at once leaves nothing
    drafts.keep("a", first)
    assert drafts.take("a") == first
    assert drafts.take("b") != first
    drafts.drop("a")
    assert drafts.take("a") != first


def test_a_signed_draft_comes_back_byte_for_byte(tmp_path: Path) -> None:
    drafts, seed = DraftFolder(tmp_path / "drafts", _PASSWORD), _seed()
    draft = Draft(seed=seed, signed=_signed(seed, 100))
    drafts.keep("a", draft)
    assert drafts.take("a") == draft
    assert [p.name for p in (tmp_path / "drafts").iterdir()] == ["a.draft"]


def test_rejects_a_draft_under_another_password(tmp_path: Path) -> None:
    DraftFolder(tmp_path, _PASSWORD).keep("a", Draft.fresh())
    with pytest.raises(KeyFileError):
        DraftFolder(tmp_path, b"another").take("a")


def test_nothing_of_a_draft_is_readable(tmp_path: Path) -> None:
    drafts, seed = DraftFolder(tmp_path, _PASSWORD), _seed()
    drafts.keep("a", Draft(seed=seed, signed=None))
    stored = (tmp_path / "a.draft").read_bytes()
    assert seed.data_key not in stored
    assert seed.data_key.hex().encode() not in stored


def test_another_publication_of_a_draft_keeps_its_upload() -> None:
    seed = _seed()
    again = Draft(seed=seed, signed=_signed(seed, 100)).unsigned()
    assert again.signed is None
    # The upload is not lost with the signature, and the used nonce is not tried again.
    assert replace(again.seed, nonce=seed.nonce) == seed
    assert again.seed.nonce != seed.nonce


def _request_draft() -> RequestDraft:
    file = receipt_file()
    return RequestDraft(
        request=file.request,
        host_key=file.host_key,
        operator_signature=file.operator_signature,
        input_salt=Bytes32(b"\x21" * 32),
        client_secret=Bytes32(b"\x22" * 32),
    )


def test_a_request_draft_comes_back_as_it_was_and_is_dropped(tmp_path: Path) -> None:
    drafts, draft = DraftFolder(tmp_path, _PASSWORD), _request_draft()
    assert drafts.take_request("r") is None
    drafts.keep_request("r", draft)
    assert drafts.take_request("r") == draft
    drafts.drop("r")
    assert drafts.take_request("r") is None
    drafts.drop("r")


def test_nothing_that_opens_an_answer_is_readable_or_shown(tmp_path: Path) -> None:
    draft = _request_draft()
    DraftFolder(tmp_path, _PASSWORD).keep_request("r", draft)
    for secret in (draft.input_salt, draft.client_secret):
        assert secret not in (tmp_path / "r.draft").read_bytes()
        assert secret.hex().encode() not in (tmp_path / "r.draft").read_bytes()
        assert str(bytes(secret)) not in repr(draft)


def test_rejects_a_draft_of_the_other_kind(tmp_path: Path) -> None:
    drafts = DraftFolder(tmp_path, _PASSWORD)
    drafts.keep_request("r", _request_draft())
    drafts.keep("p", Draft.fresh())
    with pytest.raises(KeyFileError, match="WrongPassword"):
        drafts.take("r")
    with pytest.raises(KeyFileError, match="WrongPassword"):
        drafts.take_request("p")


@pytest.mark.parametrize("content", [b"no json", b"[]", b"{}", b'{"seed": "0x00"}'])
def test_rejects_a_draft_that_this_version_did_not_write(tmp_path: Path, content: bytes) -> None:
    store_secret(tmp_path / "p.draft", content, _PASSWORD, purpose=b"publication-draft", cost=MIN_COST)
    store_secret(tmp_path / "r.draft", content, _PASSWORD, purpose=b"request-draft", cost=MIN_COST)
    drafts = DraftFolder(tmp_path, _PASSWORD)
    with pytest.raises(MalformedDraft) as caught:
        drafts.take("p")
    assert "wipe" not in caught.value.hint
    with pytest.raises(MalformedDraft):
        drafts.take_request("r")


def test_rejects_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    drafts = DraftFolder(tmp_path / "file" / "drafts", _PASSWORD)
    with pytest.raises(KeyFileError, match="cannot write"):
        drafts.keep("p", Draft.fresh())
    with pytest.raises(KeyFileError, match="cannot write"):
        drafts.keep_request("r", _request_draft())


def test_every_part_of_a_request_has_a_draft_of_its_own() -> None:
    base = {"consumer": b"c", "at": b"h", "publication": b"p", "payload": b"x"}
    names = {request_draft_name(**base)}
    names |= {request_draft_name(**(base | {name: b"other"})) for name in base}
    assert len(names) == 5


def test_every_part_of_a_publication_has_a_draft_of_its_own() -> None:
    base = {"publisher": Address(b"\x01" * 20), "home": b"h", "name": "m", "version": 1, "manifest": b"x"}
    names = {draft_name(**base)}  # type: ignore[arg-type]
    for change in ({"publisher": b"\x02" * 20}, {"home": b"i"}, {"name": "n"}, {"version": 2}, {"manifest": b"y"}):
        names.add(draft_name(**(base | change)))  # type: ignore[arg-type]
    assert len(names) == 6
