"""Key ceremonies of spec 41 a second time, from its text: one dealer's messages, and what comes out of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

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

__all__ = ["ReferenceDealer", "ReferenceRun", "ReferenceSession", "closed", "lagrange_at_zero", "result", "run"]


@dataclass(frozen=True, kw_only=True)
class ReferenceSession:
    """A session."""

    network: bytes
    epoch: int
    attempt: int
    f: int
    t: int
    accounts: tuple[bytes, ...]
    earlier: bytes = b""
    """What a resharing appends: f u8, accounts, key."""
    seats: tuple[int, ...] = ()
    """Of the recipients, by share index; 1 to n unless said."""

    @property
    def encoded(self) -> bytes:
        """Its bytes."""
        numbers = self.epoch.to_bytes(8, "big") + self.attempt.to_bytes(4, "big")
        return (
            self.network
            + numbers
            + bytes((len(self.accounts), self.f, self.t))
            + b"".join(self.accounts)
            + self.earlier
        )

    @property
    def id(self) -> bytes:
        """Its hash."""
        return tagged_hash(Tag.DKG_SESSION, self.encoded)

    @property
    def indices(self) -> range:
        """1 to n."""
        return range(1, len(self.accounts) + 1)

    @property
    def recipients(self) -> dict[int, int]:
        """Share index by seat."""
        return {seat: index for index, seat in enumerate(self.seats or tuple(self.indices), start=1)}


class ReferenceDealer:
    """The secrets and messages of one validator."""

    def __init__(
        self, session: ReferenceSession, index: int, seed: bytes, *, constant: int = 0, deals: bool = True
    ) -> None:
        self.session, self.index, self.seed = session, index, seed
        self.coefficients = [self._derive(b"dkg-coefficient", bytes((k,))) for k in range(session.t)] if deals else []
        if deals and constant:
            self.coefficients[0] = constant
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
        possession = self._possession(b"sealing", self.sealing)
        return self.head(1) + self.opening() + encode(times(self.sealing, G)) + possession

    def opening(self) -> bytes:
        """Hash of what phase 2 opens; zeros: it deals nothing."""
        if not self.coefficients:
            return bytes(32)
        points = b"".join(encode(c) for c in self.commitments)
        possession = self._possession(b"constant", self.coefficients[0])
        return tagged_hash(Tag.DKG_COMMIT, self.session.id, bytes((self.index,)), points, possession)

    def reveal(self, others: Sequence[ReferenceDealer], wrong: Mapping[int, bytes] | None = None) -> bytes:
        """Phase 2 to these receivers, by seat; `wrong` has plaintexts that some get instead of their shares."""
        points = b"".join(encode(c) for c in self.commitments)
        possession = self._possession(b"constant", self.coefficients[0])
        places = self.session.recipients
        ephemeral = encode(times(self.ephemeral, G)) + self._possession(b"ephemeral", self.ephemeral)
        sealed = b"".join(
            hpke_seal(
                (wrong or {}).get(other.index) or b32(evaluate(self.coefficients, places[other.index])),
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
        places = self.session.recipients
        opened = b"".join(bytes((i,)) + b32(evaluate(self.coefficients, places[i])) for i in accusers)
        return self.head(4) + bytes((len(accusers),)) + opened

    def close(self, transcript: bytes, group_key: Affine) -> bytes:
        """Phase 5."""
        return self.head(5) + transcript + encode(group_key)

    def vote(self, phase: int) -> bytes:
        """To close a phase."""
        return self.head(8 + phase)


@dataclass(frozen=True, kw_only=True)
class ReferenceRun:
    """A whole run."""

    messages: list[tuple[int, bytes]]
    """Sender and body, in the board's order."""
    transcript: bytes
    group_key: Affine
    shares: dict[int, int]
    """By share index, also of those who got none."""

    def threshold_key(self, session: ReferenceSession) -> bytes:
        """Spec 40 §3."""
        head = b"\x01" + session.epoch.to_bytes(8, "big") + bytes((len(session.accounts), session.t))
        keys = b"".join(encode(times(self.shares[i], G)) for i in session.indices)
        return head + encode(self.group_key) + keys


def lagrange_at_zero(places: Sequence[int]) -> dict[int, int]:
    """Factors of the values at `places`."""
    factors: dict[int, int] = {}
    for i in places:
        above, below = 1, 1
        for j in places:
            if j != i:
                above, below = above * -j % ORDER, below * (i - j) % ORDER
        factors[i] = above * pow(below, -1, ORDER) % ORDER
    return factors


def result(
    session: ReferenceSession,
    qualified: Sequence[ReferenceDealer],
    messages: Sequence[tuple[int, bytes]],
    refused: Collection[bytes] = (),
) -> ReferenceRun:
    """What comes out.

    Arguments:
        messages: so far, votes among them.
        refused: bodies that do not count.
    """
    counted = sorted((body[1], sender, body) for sender, body in messages if body[1] <= 4 and body not in refused)
    transcript = tagged_hash(Tag.DKG_TRANSCRIPT, session.id, *(body for _, _, body in counted))
    factors = dict.fromkeys((d.index for d in qualified), 1)
    if session.earlier:
        factors = lagrange_at_zero([d.index for d in qualified])
    group_key: Affine = None
    for dealer in qualified:
        group_key = add(group_key, times(factors[dealer.index] * dealer.coefficients[0] % ORDER, G))
    shares = {
        i: sum(factors[d.index] * evaluate(d.coefficients, i) for d in qualified) % ORDER for i in session.indices
    }
    return ReferenceRun(messages=list(messages), transcript=transcript, group_key=group_key, shares=shares)


def run(
    dealers: Sequence[ReferenceDealer],
    wrong: Mapping[int, Mapping[int, bytes]] | None = None,
    *,
    receivers: Sequence[ReferenceDealer] | None = None,
) -> ReferenceRun:
    """Everybody's messages with nobody silent; `wrong` maps a dealer to what it sends to whom instead of their shares.

    Arguments:
        receivers: all seats that get a share; the dealers unless said.
    """
    wrong, receivers = wrong or {}, dealers if receivers is None else receivers
    session = dealers[0].session
    everybody = sorted({d.index: d for d in (*dealers, *receivers)}.values(), key=lambda d: d.index)
    dealing = [d for d in dealers if d.coefficients]
    messages = [(d.index, d.commit()) for d in everybody]
    messages += [(d.index, d.reveal(receivers, wrong.get(d.index))) for d in dealing]
    messages += [(d.index, d.complaints([a for a in dealing if d.index in wrong.get(a.index, {})])) for d in receivers]
    messages += [(d.index, d.justifications(sorted(wrong[d.index]))) for d in dealing if d.index in wrong]
    made = result(session, dealing, messages)
    return closed(made, receivers)


def closed(made: ReferenceRun, receivers: Sequence[ReferenceDealer]) -> ReferenceRun:
    """The same with everybody's last message."""
    closes = [(d.index, d.close(made.transcript, made.group_key)) for d in receivers]
    return replace(made, messages=[*made.messages, *closes])
