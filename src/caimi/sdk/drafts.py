"""Drafts: what an interrupted publication needs to go on, encrypted beside the account's key until it is settled.

A draft holds the randomness, so that the same files give the same ciphertext and nothing is uploaded twice, and, once
signed, the publication itself, so that a repetition hands the relay the same bytes and never a second publication.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from caimi.crypto.capsule import Capsule
from caimi.crypto.keystore import MIN_COST
from caimi.sdk.accounts import load_secret, store_secret
from caimi.sdk.errors import KeyFileError
from caimi.sdk.json_fields import hex_text, parse_object
from caimi.sdk.publishing import SEED_BYTES, PublicationSeed, SignedPublication
from caimi.types.primitives import Bytes32, PublicationId, UnixSeconds
from caimi.types.records import Publication
from caimi.wire.codec import decode, encode
from caimi.wire.keccak import keccak256

__all__ = ["Draft", "DraftFolder", "draft_name"]

_PURPOSE: Final = b"publication-draft"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One publication under way."""

    seed: PublicationSeed
    signed: SignedPublication | None
    """None until everything is uploaded."""

    def again(self, *, now: UnixSeconds) -> Draft:
        """For another attempt: a signature whose deadline has passed is dropped, and its nonce with it."""
        if self.signed is None or self.signed.publication.deadline > now:
            return self
        return Draft(seed=dataclasses.replace(self.seed, nonce=Bytes32(os.urandom(32))), signed=None)


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
        """The draft of that name, a new one if there is none.

        Raises:
            KeyFileError, MalformedFile: There is one that cannot be read.
        """
        path = self._path(name)
        if not path.is_file():
            draft = Draft(seed=PublicationSeed.from_bytes(os.urandom(SEED_BYTES)), signed=None)
            self.keep(name, draft)
            return draft
        fields = parse_object(load_secret(path, self._password, purpose=_PURPOSE), str(path))
        seed = PublicationSeed.from_bytes(fields.data("seed", length=SEED_BYTES))
        signed = fields.optional("signed", fields.object)
        if signed is None:
            return Draft(seed=seed, signed=None)
        return Draft(
            seed=seed,
            signed=SignedPublication(
                id=PublicationId(signed.bytes32("id")),
                publication=decode(Publication, signed.data("publication")),
                signature=signed.data("signature", length=65),
                capsule=Capsule.from_bytes(signed.data("capsule")),
            ),
        )

    def keep(self, name: str, draft: Draft) -> None:
        """Write a draft, in place of an earlier one.

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
        path = self._path(name)
        fresh = path.with_name(f"{path.name}.fresh")
        fresh.unlink(missing_ok=True)
        store_secret(fresh, json.dumps(content).encode(), self._password, purpose=_PURPOSE, cost=MIN_COST)
        fresh.replace(path)

    def drop(self, name: str) -> None:
        """Forget a draft, because its publication is settled."""
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            raise KeyFileError(f"cannot remove {self._path(name)}: {error.strerror}") from error

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.draft"


def draft_name(*, publisher: bytes, home: bytes, name: str, version: int, manifest: bytes) -> str:
    """Under which name a publication's draft is kept: other files or another name make another one."""
    parts = (publisher, home, name.encode(), version.to_bytes(8, "big"), manifest)
    return keccak256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).hex()[:32]
