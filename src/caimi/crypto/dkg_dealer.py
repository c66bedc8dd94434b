"""The dealer's half of a key ceremony: everything it says follows from one seed (spec 41)."""

from __future__ import annotations

from collections.abc import Sequence

from caimi.crypto.board_seal import open_with_shared_point, seal_to_board
from caimi.crypto.dkg_errors import WrongShare
from caimi.crypto.dkg_messages import NO_OPENING, Commit, Complaint, Reveal
from caimi.crypto.dkg_session import DkgSession
from caimi.crypto.dleq import Proof, prove
from caimi.crypto.errors import BadSecret, SealNotOpened
from caimi.crypto.group import Point, SecretScalar
from caimi.crypto.polynomial import evaluate, evaluate_points
from caimi.crypto.secp256k1 import GROUP
from caimi.types.primitives import Bytes32, bytes32
from caimi.wire.keccak import Tag, tagged_hash

__all__ = ["Dealer", "open_share", "opening_hash", "possession_context", "share_info", "verify_share"]


def possession_context(session: DkgSession, seat: int, what: bytes) -> tuple[bytes, ...]:
    """Context of a proof of possession; `what` is b"sealing", b"constant" or b"ephemeral"."""
    return session.id, bytes((seat,)), what


def share_info(session: DkgSession, dealer: int, recipient: int) -> bytes:
    """HPKE `info` of a sealed share: tag 32, session id 32, dealer u8, recipient u8."""
    return Tag.DKG_SHARE_SEAL.bytes32 + session.id + bytes((dealer, recipient))


def opening_hash(session: DkgSession, reveal: Reveal) -> Bytes32:
    """What the dealer commits to in phase 1."""
    points = b"".join(point.encode() for point in reveal.commitments)
    return tagged_hash(Tag.DKG_COMMIT, session.id, bytes((reveal.seat,)), points, reveal.possession.to_bytes())


def verify_share(share: SecretScalar, *, reveal: Reveal, at: int) -> None:
    """Check a share against the dealer's commitments.

    Arguments:
        at: the recipient's share index.
    Raises:
        WrongShare: It is not the value at `at` of the polynomial; names the dealer.
    """
    if GROUP.base_multiply(share) != evaluate_points(reveal.commitments, at):
        raise WrongShare(reveal.seat, f"the share of share index {at} is not on the committed polynomial")


def open_share(
    session: DkgSession, *, reveal: Reveal, receivers: Sequence[int], seat: int, sealing_key: Point, shared: Point
) -> SecretScalar:
    """Open and check one sealed share, given the shared point: for its receiver, and for the judges of a complaint.

    Arguments:
        receivers: seats of those whom the shares are sealed to, ascending; `seat` is one of them.
    Raises:
        WrongShare: It does not open, is no scalar from 1 to the order less one, or is not on the polynomial.
    """
    sealed, info = reveal.sealed_shares[receivers.index(seat)], share_info(session, reveal.seat, seat)
    try:
        opened = open_with_shared_point(
            sealed, encapsulated=reveal.ephemeral, recipient=sealing_key, shared=shared, info=info
        )
        share = GROUP.decode_secret(opened)
    except (SealNotOpened, BadSecret) as error:
        raise WrongShare(reveal.seat, f"the sealed share of seat {seat} does not open to one") from error
    verify_share(share, reveal=reveal, at=session.share_index(seat))
    return share


class Dealer:
    """The secrets of one validator in one session. The same seed and session always give the same messages."""

    __slots__ = ("_coefficients", "_ephemeral", "_sealing", "_seat", "_seed", "_session", "sealing_key")

    def __init__(self, *, session: DkgSession, seat: int, seed: Bytes32, constant: SecretScalar | None = None) -> None:
        """Derive everything from `seed`, 32 random bytes that are used for nothing else.

        Arguments:
            constant: in a resharing, this dealer's share of the earlier key; None: it deals nothing.
        Raises:
            BadLength: The seed is not 32 bytes.
        """
        self._seed, self._session, self._seat = bytes32(seed), session, seat
        self._coefficients: list[SecretScalar] = []
        if session.earlier is None or constant is not None:
            places = range(session.validators.t)
            self._coefficients = [self._derive(b"dkg-coefficient", bytes((place,))) for place in places]
            if constant is not None:
                self._coefficients[0] = constant
        self._sealing = self._derive(b"dkg-sealing")
        self._ephemeral = self._derive(b"dkg-ephemeral")
        self.sealing_key = GROUP.base_multiply(self._sealing)
        """The public key that this validator's shares are sealed to."""

    @property
    def deals(self) -> bool:
        """Whether it has something to deal."""
        return bool(self._coefficients)

    def _derive(self, purpose: bytes, *parts: bytes) -> SecretScalar:
        return GROUP.derive_secret(purpose, self._seed, self._session.id, bytes((self._seat,)), *parts)

    def _entropy(self, purpose: bytes) -> Bytes32:
        # Proofs need entropy of their own; from the seed, so that they repeat with it.
        return Bytes32(self._derive(b"dkg-proof", purpose).reveal())

    def share_for(self, seat: int) -> SecretScalar:
        """Value of the secret polynomial at a recipient's share index."""
        return evaluate(self._coefficients, self._session.share_index(seat))

    def commit(self) -> Commit:
        """The message of phase 1."""
        return Commit(
            seat=self._seat,
            opening_hash=opening_hash(self._session, self._reveal(sealed_shares=())) if self.deals else NO_OPENING,
            sealing_key=self.sealing_key,
            possession=self._possession(b"sealing", self._sealing, self.sealing_key),
        )

    def reveal(self, sealing_keys: dict[int, Point]) -> Reveal:
        """The message of phase 2, given the receivers' sealing keys by seat."""
        sealed = (self._sealed_share(seat, sealing_keys[seat]) for seat in sorted(sealing_keys))
        return self._reveal(sealed_shares=tuple(sealed))

    def _reveal(self, *, sealed_shares: tuple[bytes, ...]) -> Reveal:
        commitments = tuple(GROUP.base_multiply(coefficient) for coefficient in self._coefficients)
        ephemeral = GROUP.base_multiply(self._ephemeral)
        return Reveal(
            seat=self._seat,
            commitments=commitments,
            possession=self._possession(b"constant", self._coefficients[0], commitments[0]),
            ephemeral=ephemeral,
            ephemeral_possession=self._possession(b"ephemeral", self._ephemeral, ephemeral),
            sealed_shares=sealed_shares,
        )

    def _possession(self, what: bytes, secret: SecretScalar, image: Point) -> Proof:
        return prove(
            Tag.DKG_POSSESSION,
            context=possession_context(self._session, self._seat, what),
            bases=(GROUP.generator,),
            images=(image,),
            secret=secret,
            entropy=self._entropy(what),
        )

    def _sealed_share(self, seat: int, sealing_key: Point) -> bytes:
        info = share_info(self._session, self._seat, seat)
        share = self.share_for(seat).reveal()
        return seal_to_board(share, recipient=sealing_key, info=info, ephemeral=self._ephemeral)

    def open(self, reveal: Reveal, receivers: Sequence[int]) -> SecretScalar:
        """This validator's share of another dealer's polynomial.

        Raises:
            WrongShare: See `open_share`.
        """
        return open_share(
            self._session,
            reveal=reveal,
            receivers=receivers,
            seat=self._seat,
            sealing_key=self.sealing_key,
            shared=self._shared_with(reveal),
        )

    def _shared_with(self, reveal: Reveal) -> Point:
        return GROUP.multiply_secret(reveal.ephemeral, self._sealing)

    def complaint(self, reveal: Reveal) -> Complaint:
        """Show what this validator received from a dealer. Gives away that one share and nothing else."""
        shared = self._shared_with(reveal)
        proof = prove(
            Tag.DKG_COMPLAINT,
            context=(self._session.id, bytes((reveal.seat, self._seat))),
            bases=(GROUP.generator, reveal.ephemeral),
            images=(self.sealing_key, shared),
            secret=self._sealing,
            entropy=self._entropy(b"complaint" + bytes((reveal.seat,))),
        )
        return Complaint(dealer=reveal.seat, shared=shared, proof=proof)

    def __repr__(self) -> str:
        return f"Dealer(seat={self._seat})"
