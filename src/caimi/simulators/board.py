"""`BoardPort` over records in memory: what the chaincode does for leases, partials and key generation (spec 30 §3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from caimi.crypto.ecdsa import recover
from caimi.crypto.quorum import ValidatorSet, verify_signers
from caimi.ports.chain import BoardMessage, ChainUnavailable
from caimi.protocol.registry_state import Epochs, EpochSigners
from caimi.types.errors import (
    AlreadyPosted,
    BadLease,
    BadSetChange,
    CapReached,
    Expired,
    HostKeyExpired,
    LeaseEnded,
    Paused,
    UnknownFunction,
    UnknownLease,
    UnknownOperator,
    UnknownSigner,
    WrongCommitment,
    WrongEpoch,
    WrongPhase,
    WrongRegistry,
    WrongSigner,
)
from caimi.types.primitives import ZERO32, Address, Bytes32, Epoch, UnixSeconds
from caimi.types.records import (
    BoardPost,
    Genesis,
    HostKey,
    Lane,
    LeaseRequest,
    PartialPost,
    SetProposal,
    Signature,
)
from caimi.wire.codec import Record
from caimi.wire.digests import network_id, sealed_hash, typed_digest
from caimi.wire.functions import decode_call
from caimi.wire.keccak import keccak256

__all__ = ["SimulatedBoard", "SimulatedBoardNode"]

_SERVE: Final = 1
_MAX_CALLS: Final = 1 << 20
_MAX_SECONDS: Final = 86_400
_MAX_PARTIAL: Final = 1_024
_MAX_BODY: Final = 65_536
_STEPS: Final = frozenset((*range(1, 6), *range(9, 14)))


class SimulatedBoard:
    """The board's records; every call that takes effect is a block of its own, final at once."""

    def __init__(
        self,
        genesis: Genesis,
        lane: Lane,
        *,
        now: Callable[[], UnixSeconds],
        epoch: Epoch,
        lease_cap: int = 0,
        is_paused: Callable[[], bool] = lambda: False,
        epochs: Callable[[], Epochs] | None = None,
    ) -> None:
        """Begin empty.

        Arguments:
            now: the clock by which calls are judged.
            lease_cap: leases of one operator for one publication in an epoch; 0 for no cap.
            epochs: who counts at the registry that the board is part of; None for the descriptor's set in `epoch`.
        """
        self.is_paused = is_paused
        """Whether the registry that the board is part of is paused now."""
        self.lane = lane
        self.height = 0
        self.leases: dict[Bytes32, LeaseRequest] = {}
        self.partials: dict[tuple[Bytes32, int], bytes] = {}
        self.opened_at: dict[Bytes32, UnixSeconds] = {}
        """When each lease was opened, by the clock by which calls are judged."""
        self.posts: dict[tuple[int, int, int], bytes] = {}
        """By epoch, phase and seat, in the order in which they came."""
        self.signatures: dict[tuple[int, int, int], bytes] = {}
        self._genesis = genesis
        self._network = network_id(genesis)
        first = EpochSigners(epoch=epoch, validators=ValidatorSet.from_genesis(genesis))
        self._epochs = epochs or (lambda: Epochs(present=first))
        self._proposal: SetProposal | None = None
        self._seats: dict[Epoch, tuple[Address, ...]] = {}
        self._now = now
        self._lease_cap = lease_cap
        self._leases_of: Counter[tuple[Epoch, Bytes32, Address]] = Counter()
        self._opened: list[tuple[int, Bytes32]] = []

    @property
    def n(self) -> int:
        """How many validators there are in the present epoch."""
        return self._epochs().present.validators.n

    def share_count(self, lease: Bytes32) -> int:
        """How many partials a lease can have."""
        return self._signers_of(self.leases.get(lease)).validators.n

    def leases_above(self, height: int) -> tuple[Bytes32, ...]:
        """Leases opened above that height."""
        return tuple(lease for at, lease in self._opened if at > height)

    def run(self, call: bytes, transient: bytes = b"") -> None:
        """Run one call; on a refusal nothing changes.

        Raises:
            Refusal: See spec 30 §3.
        """
        name, arguments = decode_call(call)
        match name:
            case "openLease":
                self._open_lease(*arguments)
            case "postPartial":
                post, signature = arguments
                self._post_partial(post, signature, transient)
            case "postBoard":
                self._post_board(*arguments)
            case "proposeSet":
                self._propose_set(*arguments)
            case _:
                raise UnknownFunction

    def _open_lease(self, lease: LeaseRequest, signature: bytes, key: HostKey, operator_signature: bytes) -> None:
        operator = recover(typed_digest(self._network, key), operator_signature)
        if operator not in self._genesis.operators:
            raise UnknownOperator(operator)
        identifier = typed_digest(self._network, lease)
        signer = recover(identifier, signature)
        if signer != key.signing_key:
            raise WrongSigner(key.signing_key, signer)
        self._check_lane(lease.at)
        if identifier in self.leases:
            return
        if self.is_paused():
            raise Paused
        now = self._now()
        if now > lease.deadline:
            raise Expired(lease.deadline, now)
        epochs = self._epochs()
        if lease.epoch != epochs.present.epoch:
            raise WrongEpoch(epochs.present.epoch, lease.epoch)
        epochs.accepting(key.epoch)
        if now > key.until:
            raise HostKeyExpired(key.until, now)
        keys = (lease.sealing_key, lease.signing_key) == (key.sealing_key, key.signing_key)
        ends = now < lease.end <= min(now + _MAX_SECONDS, key.until)
        if not keys or lease.purpose != _SERVE or not 1 <= lease.calls <= _MAX_CALLS or not ends:
            raise BadLease
        counted = (lease.epoch, lease.publication, operator)
        asked = self._leases_of[counted] + 1
        if 0 < self._lease_cap < asked:
            raise CapReached(self._lease_cap, asked)
        self._leases_of[counted] = asked
        self._grow()
        self.leases[identifier] = lease
        self.opened_at[identifier] = now
        self._opened.append((self.height, identifier))

    def _post_partial(self, post: PartialPost, signature: bytes, sealed: bytes) -> None:
        lease = self.leases.get(post.lease)
        self._check_seat(post, signature, self._signers_of(lease).validators.validators, post.index)
        self._check_lane(post.at)
        if lease is None:
            raise UnknownLease(post.lease)
        known = self.partials.get((post.lease, post.index))
        if known is not None:
            if sealed_hash(known) != post.sealed_hash:
                raise AlreadyPosted
            return
        self._epochs().accepting(lease.epoch)
        if self._now() > lease.end:
            raise LeaseEnded(lease.end, self._now())
        if len(sealed) > _MAX_PARTIAL or sealed_hash(sealed) != post.sealed_hash:
            raise WrongCommitment
        self._grow()
        self.partials[post.lease, post.index] = sealed

    def _post_board(self, post: BoardPost, signature: bytes, body: bytes) -> None:
        present = self._epochs().present
        proposed = present.epoch if self._proposal is None else self._proposal.next.epoch
        is_open = post.epoch in (present.epoch, max(proposed, present.epoch))
        seats = self.seats(post.epoch) if is_open else present.validators.validators
        self._check_seat(post, signature, seats, post.index)
        self._check_lane(post.at)
        if not is_open:
            raise WrongEpoch(present.epoch, post.epoch)
        if post.phase % 16 not in _STEPS:
            raise WrongPhase
        if len(body) > _MAX_BODY or keccak256(body) != post.body_hash:
            raise WrongCommitment
        place = (post.epoch, post.phase, post.index)
        known = self.posts.get(place)
        if known is not None:
            if known != body:
                raise AlreadyPosted
            return
        self._grow()
        self.posts[place] = body
        self.signatures[place] = signature

    def _propose_set(self, proposal: SetProposal, signatures: tuple[Signature, ...]) -> None:
        if proposal == self._proposal:
            return
        present, following = self._epochs().present, proposal.next
        if proposal.epoch != present.epoch:
            raise WrongEpoch(present.epoch, proposal.epoch)
        digest, validators = typed_digest(self._network, proposal), present.validators
        verify_signers(signatures, digest, validator_set=validators, needed=validators.q)
        self._check_lane(proposal.at)
        recipients = ValidatorSet(validators=following.validators, f=following.f, t=following.t).validators
        last = present.epoch if self._proposal is None else max(present.epoch, self._proposal.next.epoch)
        if following.epoch <= last or following.transcript != ZERO32:
            raise BadSetChange
        self._grow()
        self._proposal = proposal
        fresh = tuple(a for a in recipients if a not in validators.validators)
        self._seats[following.epoch] = validators.validators + fresh

    def seats(self, epoch: Epoch) -> tuple[Address, ...]:
        """The accounts that post under an epoch: those of its session, or the present set's."""
        return self._seats.get(epoch, self._epochs().present.validators.validators)

    def _signers_of(self, lease: LeaseRequest | None) -> EpochSigners:
        # Whose partials a lease takes; the present set's where that is refused anyway.
        epochs = self._epochs()
        before = epochs.before
        return before if lease and before and before.epoch == lease.epoch else epochs.present

    def _check_seat(self, record: Record, signature: bytes, seats: tuple[Address, ...], index: int) -> None:
        if not 1 <= index <= len(seats):
            raise UnknownSigner(index)
        expected = seats[index - 1]
        signer = recover(typed_digest(self._network, record), signature)
        if signer != expected:
            raise WrongSigner(expected, signer)

    def _check_lane(self, at: Lane) -> None:
        if at != self.lane:
            raise WrongRegistry(at.registry, self.lane.registry)

    def _grow(self) -> None:
        self.height += 1


@dataclass(slots=True, kw_only=True)
class SimulatedBoardNode:
    """`BoardPort` through one node that can be down, or lose the answer of what it did."""

    board: SimulatedBoard
    is_up: bool = True
    answers: bool = True
    """False: calls take effect and the caller is told that the node does not answer."""

    async def lease(self, identifier: Bytes32) -> LeaseRequest | None:
        """See `BoardPort`."""
        return self._asked().leases.get(identifier)

    async def leases_since(self, height: int) -> tuple[int, tuple[Bytes32, ...]]:
        """See `BoardPort`."""
        board = self._asked()
        return board.height, board.leases_above(height)

    async def partials(self, lease: Bytes32) -> tuple[bytes, ...]:
        """See `BoardPort`."""
        board = self._asked()
        return tuple(board.partials.get((lease, index), b"") for index in range(1, board.share_count(lease) + 1))

    async def posts(self, epoch: Epoch) -> tuple[BoardMessage, ...]:
        """See `BoardPort`."""
        board = self._asked()
        return tuple(
            BoardMessage(phase=phase, index=index, body=body, signature=board.signatures[at, phase, index])
            for (at, phase, index), body in board.posts.items()
            if at == epoch
        )

    async def post_partial(self, call: bytes, sealed: bytes) -> None:
        """See `BoardPort`."""
        self._told(self._asked().run(call, sealed))

    async def post(self, call: bytes) -> None:
        """See `BoardPort`."""
        self._told(self._asked().run(call))

    def _told(self, _: Any) -> None:
        if not self.answers:
            raise ChainUnavailable("the simulated node lost its answer")

    def _asked(self) -> SimulatedBoard:
        if not self.is_up:
            raise ChainUnavailable("the simulated board's node is down")
        return self.board
