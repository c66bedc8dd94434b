"""Drafts: what an interrupted publication or request needs to go on, encrypted until it is settled.

A publication's draft holds the randomness, so that the same files give the same ciphertext and nothing is uploaded
twice, and, once signed, the publication itself, so that a repetition hands the relay the same bytes and never a second
publication. A request's draft holds the request and what opens its answer.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from caimi.crypto.capsule import Capsule
from caimi.crypto.keystore import MIN_COST
from caimi.sdk.accounts import load_secret, store_secret
from caimi.sdk.errors import KeyFileError, MalformedDraft
from caimi.sdk.json_fields import Fields, hex_text, parse_object
from caimi.sdk.publishing import SEED_BYTES, PublicationSeed, SignedPublication
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Bytes32, PublicationId
from caimi.types.records import HostKey, InferenceRequest, Publication
from caimi.wire.codec import decode, encode
from caimi.wire.keccak import keccak256

__all__ = ["Draft", "DraftFolder", "RequestDraft", "draft_name", "request_draft_name"]

_PUBLICATION: Final = b"publication-draft"
_REQUEST: Final = b"request-draft"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One publication under way."""

    seed: PublicationSeed
    signed: SignedPublication | None
    """None until everything is uploaded."""

    @classmethod
    def fresh(cls) -> Draft:
        """With new randomness."""
        return cls(seed=PublicationSeed.from_bytes(os.urandom(SEED_BYTES)), signed=None)

    def unsigned(self) -> Draft:
        """For another publication of the same ciphertext: the signature is dropped, and its nonce with it."""
        return Draft(seed=dataclasses.replace(self.seed, nonce=Bytes32(os.urandom(32))), signed=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDraft:
    """One inference request under way. SECRET."""

    request: InferenceRequest
    host_key: HostKey
    operator_signature: bytes
    input_salt: Bytes32 = field(repr=False)
    client_secret: Bytes32 = field(repr=False)
    """Opens the answer."""


class DraftFolder:
    """Drafts of a state folder."""

    def __init__(self, folder: Path, password: bytes) -> None:
        """Arguments:
        folder: made when the first draft is kept.
        password: encrypts the drafts; the account's.
        """
        self._folder = folder
        self._password = password

    def take(self, name: str) -> Draft:
        """The draft of a publication; a new one, that is not kept yet, if there is none.

        Raises:
            KeyFileError, MalformedDraft: There is one that cannot be read.
        """
        fields = self._read(name, _PUBLICATION)
        if fields is None:
            return Draft.fresh()
        seed = PublicationSeed.from_bytes(fields.data("seed", length=SEED_BYTES))
        signed = fields.optional("signed", fields.object)
        if signed is None:
            return Draft(seed=seed, signed=None)
        return Draft(
            seed=seed,
            signed=SignedPublication(
                id=PublicationId(signed.bytes32("id")),
                publication=_record(signed, "publication", Publication),
                signature=signed.data("signature", length=65),
                capsule=Capsule.from_bytes(signed.data("capsule")),
            ),
        )

    def keep(self, name: str, draft: Draft) -> None:
        """Write the draft of a publication, in place of an earlier one.

        Raises:
            KeyFileError: It cannot be written.
        """
        signed = draft.signed
        content = {
            "seed": hex_text(draft.seed.to_bytes()),
            "signed": signed
            and {
                "id": hex_text(signed.id),
                "publication": hex_text(encode(signed.publication)),
                "signature": hex_text(signed.signature),
                "capsule": hex_text(signed.capsule.to_bytes()),
            },
        }
        self._write(name, _PUBLICATION, content)

    def take_request(self, name: str) -> RequestDraft | None:
        """The draft of a request, None if there is none.

        Raises:
            KeyFileError, MalformedDraft: There is one that cannot be read.
        """
        fields = self._read(name, _REQUEST)
        if fields is None:
            return None
        return RequestDraft(
            request=_record(fields, "request", InferenceRequest),
            host_key=_record(fields, "host_key", HostKey),
            operator_signature=fields.data("operator_signature", length=65),
            input_salt=fields.bytes32("input_salt"),
            client_secret=fields.bytes32("client_secret"),
        )

    def keep_request(self, name: str, draft: RequestDraft) -> None:
        """Write the draft of a request, in place of an earlier one.

        Raises:
            KeyFileError: It cannot be written.
        """
        content = {
            "request": hex_text(encode(draft.request)),
            "host_key": hex_text(encode(draft.host_key)),
            "operator_signature": hex_text(draft.operator_signature),
            "input_salt": hex_text(draft.input_salt),
            "client_secret": hex_text(draft.client_secret),
        }
        self._write(name, _REQUEST, content)

    def drop(self, name: str) -> None:
        """Forget a draft, because what it is about is settled."""
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            raise KeyFileError(f"cannot remove {self._path(name)}: {error.strerror}") from error

    def _read(self, name: str, purpose: bytes) -> Fields | None:
        path = self._path(name)
        if not path.is_file():
            return None
        return parse_object(load_secret(path, self._password, purpose=purpose), str(path), error=MalformedDraft)

    def _write(self, name: str, purpose: bytes, content: dict[str, Any]) -> None:
        path = self._path(name)
        fresh = path.with_name(f"{path.name}.fresh")
        try:
            fresh.unlink(missing_ok=True)
            store_secret(fresh, json.dumps(content).encode(), self._password, purpose=purpose, cost=MIN_COST)
            fresh.replace(path)
        except OSError as error:
            raise KeyFileError(f"cannot write {path}: {error.strerror}") from error

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.draft"


def draft_name(*, publisher: bytes, home: bytes, name: str, version: int, manifest: bytes) -> str:
    """Under which name a publication's draft is kept: other files or another name make another one."""
    return _name(publisher, home, name.encode(), version.to_bytes(8, "big"), manifest)


def request_draft_name(*, consumer: bytes, at: bytes, publication: bytes, payload: bytes) -> str:
    """Under which name a request's draft is kept: another model, lane or input makes another one."""
    return _name(b"request", consumer, at, publication, payload)


def _name(*parts: bytes) -> str:
    return keccak256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).hex()[:32]


def _record(fields: Fields, name: str, kind: type[T]) -> T:
    try:
        return decode(kind, fields.data(name))
    except BadEncoding as error:
        raise fields.malformed(name) from error
