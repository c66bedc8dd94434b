"""The dealer's half of a key generation: everything it says follows from one seed (spec 40 §7)."""

from __future__ import annotations

from caimi.crypto.board_seal import open_with_shared_point, seal_to_board
from caimi.crypto.dkg_errors import WrongShare
from caimi.crypto.dkg_messages import Commit, Complaint, DkgSession, Reveal
from caimi.crypto.dleq import Proof, prove
from caimi.crypto.errors import BadSecret, SealNotOpened
from caimi.crypto.group import Point, SecretScalar
from caimi.crypto.polynomial import evaluate, evaluate_points
from caimi.crypto.secp256k1 import GROUP
from caimi.types.primitives import Bytes32, bytes32
from caimi.wire.keccak import Tag, tagged_hash

__all__ = ["Dealer", "open_share", "opening_hash", "possession_context", "share_info", "verify_share"]


def possession_context(session: DkgSession, index: int, what: bytes) -> tuple[bytes, ...]:
    """Context of a proof of possession; `what` is b"sealing", b"constant" or b"ephemeral"."""
    return session.id, bytes((index,)), what


def share_info(session: DkgSession, dealer: int, recipient: int) -> bytes:
    """HPKE `info` of a sealed share: tag 32, session id 32, dealer u8, recipient u8."""
    return Tag.DKG_SHARE_SEAL.bytes32 + session.id + bytes((dealer, recipient))


def opening_hash(session: DkgSession, reveal: Reveal) -> Bytes32:
    """What the dealer commits to in phase 1."""
    points = b"".join(point.encode() for point in reveal.commitments)
    return tagged_hash(Tag.DKG_COMMIT, session.id, bytes((reveal.index,)), points, reveal.possession.to_bytes())


def verify_share(share: SecretScalar, *, reveal: Reveal, recipient: int) -> None:
    """Check a share against the dealer's commitments.

    Raises:
        WrongShare: It is not the value at `recipient` of the polynomial; names the dealer.
    """
    if GROUP.base_multiply(share) != evaluate_points(reveal.commitments, recipient):
        raise WrongShare(reveal.index, f"the share of validator {recipient} is not on the committed polynomial")


def open_share(
    session: DkgSession, *, reveal: Reveal, recipient: int, sealing_key: Point, shared: Point
) -> SecretScalar:
    """Open and check one sealed share, given the shared point: for its recipient, and for the judges of a complaint.

    Raises:
        WrongShare: It does not open, is no scalar from 1 to the order less one, or is not on the polynomial.
    """
    sealed, info = reveal.sealed_shares[recipient - 1], share_info(session, reveal.index, recipient)
    try:
        opened = open_with_shared_point(
            sealed, encapsulated=reveal.ephemeral, recipient=sealing_key, shared=shared, info=info
        )
        share = GROUP.decode_secret(opened)
    except (SealNotOpened, BadSecret) as error:
        raise WrongShare(reveal.index, f"the sealed share of validator {recipient} does not open to one") from error
    verify_share(share, reveal=reveal, recipient=recipient)
    return share


class Dealer:
    """The secrets of one validator in one session. The same seed and session always give the same messages."""

    __slots__ = ("_coefficients", "_ephemeral", "_index", "_sealing", "_seed", "_session", "sealing_key")

    def __init__(self, *, session: DkgSession, index: int, seed: Bytes32) -> None:
        """Derive everything from `seed`, 32 random bytes that are used for nothing else.

        Raises:
            BadLength: The seed is not 32 bytes.
        """
        self._seed, self._session, self._index = bytes32(seed), session, index
        self._coefficients = [
            self._derive(b"dkg-coefficient", bytes((place,))) for place in range(session.validators.t)
        ]
        self._sealing = self._derive(b"dkg-sealing")
        self._ephemeral = self._derive(b"dkg-ephemeral")
        self.sealing_key = GROUP.base_multiply(self._sealing)
        """The public key that this validator's shares are sealed to."""

    def _derive(self, purpose: bytes, *parts: bytes) -> SecretScalar:
        return GROUP.derive_secret(purpose, self._seed, self._session.id, bytes((self._index,)), *parts)

    def _entropy(self, purpose: bytes) -> Bytes32:
        # Proofs need entropy of their own; from the seed, so that they repeat with it.
        return Bytes32(self._derive(b"dkg-proof", purpose).reveal())

    def share_for(self, recipient: int) -> SecretScalar:
        """Value of the secret polynomial at a share index."""
        return evaluate(self._coefficients, recipient)

    def commit(self) -> Commit:
        """The message of phase 1."""
        return Commit(
            index=self._index,
            opening_hash=opening_hash(self._session, self._reveal(sealed_shares=())),
            sealing_key=self.sealing_key,
            possession=self._possession(b"sealing", self._sealing, self.sealing_key),
        )

    def reveal(self, sealing_keys: dict[int, Point]) -> Reveal:
        """The message of phase 2, given everybody's sealing key by share index."""
        sealed = (self._sealed_share(recipient, sealing_keys[recipient]) for recipient in self._session.indices)
        return self._reveal(sealed_shares=tuple(sealed))

    def _reveal(self, *, sealed_shares: tuple[bytes, ...]) -> Reveal:
        commitments = tuple(GROUP.base_multiply(coefficient) for coefficient in self._coefficients)
        ephemeral = GROUP.base_multiply(self._ephemeral)
        return Reveal(
            index=self._index,
            commitments=commitments,
            possession=self._possession(b"constant", self._coefficients[0], commitments[0]),
            ephemeral=ephemeral,
            ephemeral_possession=self._possession(b"ephemeral", self._ephemeral, ephemeral),
            sealed_shares=sealed_shares,
        )

    def _possession(self, what: bytes, secret: SecretScalar, image: Point) -> Proof:
        return prove(
            Tag.DKG_POSSESSION,
            context=possession_context(self._session, self._index, what),
            bases=(GROUP.generator,),
            images=(image,),
            secret=secret,
            entropy=self._entropy(what),
        )

    def _sealed_share(self, recipient: int, sealing_key: Point) -> bytes:
        info = share_info(self._session, self._index, recipient)
        share = self.share_for(recipient).reveal()
        return seal_to_board(share, recipient=sealing_key, info=info, ephemeral=self._ephemeral)

    def open(self, reveal: Reveal) -> SecretScalar:
        """This validator's share of another dealer's polynomial.

        Raises:
            WrongShare: See `open_share`.
        """
        return open_share(
            self._session,
            reveal=reveal,
            recipient=self._index,
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
            context=(self._session.id, bytes((reveal.index, self._index))),
            bases=(GROUP.generator, reveal.ephemeral),
            images=(self.sealing_key, shared),
            secret=self._sealing,
            entropy=self._entropy(b"complaint" + bytes((reveal.index,))),
        )
        return Complaint(dealer=reveal.index, shared=shared, proof=proof)

    def __repr__(self) -> str:
        return f"Dealer(index={self._index})"
