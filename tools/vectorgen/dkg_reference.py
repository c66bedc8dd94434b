"""Key generation of spec 40 §7 a second time, from its text: one dealer's messages, and what comes out of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caimi.wire.keccak import Tag, tagged_hash
from vectorgen.threshold_reference import (
    ORDER,
    Affine,
    G,
    add,
    b32,
    derive,
    encode,
    evaluate,
    hpke_seal,
    prove,
    times,
)


@dataclass(frozen=True, kw_only=True)
class ReferenceSession:
    """A session."""

    network: bytes
    epoch: int
    attempt: int
    f: int
    t: int
    accounts: tuple[bytes, ...]

    @property
    def encoded(self) -> bytes:
        """Its bytes."""
        numbers = self.epoch.to_bytes(8, "big") + self.attempt.to_bytes(4, "big")
        return self.network + numbers + bytes((len(self.accounts), self.f, self.t)) + b"".join(self.accounts)

    @property
    def id(self) -> bytes:
        """Its hash."""
        return tagged_hash(Tag.DKG_SESSION, self.encoded)

    @property
    def indices(self) -> range:
        """1 to n."""
        return range(1, len(self.accounts) + 1)


class ReferenceDealer:
    """The secrets and messages of one validator."""

    def __init__(self, session: ReferenceSession, index: int, seed: bytes) -> None:
        self.session, self.index, self.seed = session, index, seed
        self.coefficients = [self._derive(b"dkg-coefficient", bytes((k,))) for k in range(session.t)]
        self.sealing = self._derive(b"dkg-sealing")
        self.ephemeral = self._derive(b"dkg-ephemeral")

    def _derive(self, purpose: bytes, *parts: bytes) -> int:
        return derive(purpose, self.seed, self.session.id, bytes((self.index,)), *parts)

    def _possession(self, what: bytes, secret: int) -> bytes:
        context = (self.session.id, bytes((self.index,)), what)
        return prove(Tag.DKG_POSSESSION, context, (G,), secret, b32(self._derive(b"dkg-proof", what)))

    def head(self, phase: int) -> bytes:
        """The first 35 bytes of a message."""
        return bytes((1, phase)) + self.session.id + bytes((self.index,))

    @property
    def commitments(self) -> list[Affine]:
        """The polynomial in the exponent."""
        return [times(c, G) for c in self.coefficients]

    def commit(self) -> bytes:
        """Phase 1."""
        points = b"".join(encode(c) for c in self.commitments)
        possession = self._possession(b"constant", self.coefficients[0])
        opening = tagged_hash(Tag.DKG_COMMIT, self.session.id, bytes((self.index,)), points, possession)
        return self.head(1) + opening + encode(times(self.sealing, G)) + self._possession(b"sealing", self.sealing)

    def reveal(self, others: Sequence[ReferenceDealer], wrong: Mapping[int, bytes] | None = None) -> bytes:
        """Phase 2; `wrong` has plaintexts that some recipients get instead of their shares."""
        points = b"".join(encode(c) for c in self.commitments)
        possession = self._possession(b"constant", self.coefficients[0])
        ephemeral = encode(times(self.ephemeral, G)) + self._possession(b"ephemeral", self.ephemeral)
        sealed = b"".join(
            hpke_seal(
                (wrong or {}).get(other.index) or b32(evaluate(self.coefficients, other.index)),
                recipient=times(other.sealing, G),
                info=Tag.DKG_SHARE_SEAL.bytes32 + self.session.id + bytes((self.index, other.index)),
                ephemeral=self.ephemeral,
            )
            for other in others
        )
        return self.head(2) + bytes((self.session.t,)) + points + possession + ephemeral + sealed

    def complaints(self, dealers: Sequence[ReferenceDealer]) -> bytes:
        """Phase 3, about these dealers."""
        entries = b"".join(self._complaint(dealer) for dealer in dealers)
        return self.head(3) + bytes((len(dealers),)) + entries

    def _complaint(self, dealer: ReferenceDealer) -> bytes:
        encapsulated = times(dealer.ephemeral, G)
        entropy = b32(self._derive(b"dkg-proof", b"complaint" + bytes((dealer.index,))))
        context = (self.session.id, bytes((dealer.index, self.index)))
        proof = prove(Tag.DKG_COMPLAINT, context, (G, encapsulated), self.sealing, entropy)
        return bytes((dealer.index,)) + encode(times(self.sealing, encapsulated)) + proof

    def justifications(self, accusers: Sequence[int]) -> bytes:
        """Phase 4."""
        opened = b"".join(bytes((i,)) + b32(evaluate(self.coefficients, i)) for i in accusers)
        return self.head(4) + bytes((len(accusers),)) + opened

    def close(self, transcript: bytes, group_key: Affine) -> bytes:
        """Phase 5."""
        return self.head(5) + transcript + encode(group_key)


@dataclass(frozen=True, kw_only=True)
class ReferenceRun:
    """A whole run."""

    messages: list[tuple[int, bytes]]
    """Sender and body, phase by phase, by index."""
    transcript: bytes
    group_key: Affine
    shares: dict[int, int]

    def threshold_key(self, session: ReferenceSession) -> bytes:
        """Spec 40 §3."""
        head = b"\x01" + session.epoch.to_bytes(8, "big") + bytes((len(session.accounts), session.t))
        keys = b"".join(encode(times(self.shares[i], G)) for i in session.indices)
        return head + encode(self.group_key) + keys


def run(dealers: Sequence[ReferenceDealer], wrong: Mapping[int, Mapping[int, bytes]] | None = None) -> ReferenceRun:
    """Everybody's messages; `wrong` maps a dealer to what it sends to whom instead of their shares."""
    wrong = wrong or {}
    session = dealers[0].session
    messages = [(d.index, d.commit()) for d in dealers]
    messages += [(d.index, d.reveal(dealers, wrong.get(d.index))) for d in dealers]
    messages += [(d.index, d.complaints([a for a in dealers if d.index in wrong.get(a.index, {})])) for d in dealers]
    messages += [(d.index, d.justifications(sorted(wrong[d.index]))) for d in dealers if d.index in wrong]
    transcript = tagged_hash(Tag.DKG_TRANSCRIPT, session.id, *(body for _, body in messages))
    group_key: Affine = None
    for dealer in dealers:
        group_key = add(group_key, dealer.commitments[0])
    messages += [(d.index, d.close(transcript, group_key)) for d in dealers]
    shares = {i: sum(evaluate(d.coefficients, i) for d in dealers) % ORDER for i in session.indices}
    return ReferenceRun(messages=messages, transcript=transcript, group_key=group_key, shares=shares)
