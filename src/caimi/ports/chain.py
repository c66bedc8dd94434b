"""What the services need of a ledger: one Protocol, one conformance suite, for the simulator and every real adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from caimi.protocol.publication import AbortReason, Role, State
from caimi.protocol.registry_state import GovernedLane
from caimi.types.errors import Blame, CaimiError, Certainty, Retry
from caimi.types.primitives import Address, Bytes32, Epoch, Generation, PublicationId, Sequence, UnixSeconds
from caimi.types.records import BatchProof, Item, Lane, LeaseRequest

__all__ = [
    "BatchView",
    "BoardMessage",
    "BoardPort",
    "BrakesView",
    "CallStatus",
    "ChainError",
    "ChainPort",
    "ChainReader",
    "ChainUnavailable",
    "FinalEvent",
    "Forgetful",
    "Head",
    "Included",
    "Lost",
    "NotIncluded",
    "Paying",
    "PreparedCall",
    "PublicationView",
    "Reverted",
    "SourcesDisagree",
    "StatusUnknown",
    "ValidatorSetView",
]


class ChainError(CaimiError):
    """A ledger or its node failed us; protocol refusals are `Refusal`s instead."""

    blame = Blame.NODE


class ChainUnavailable(ChainError):
    """The node does not answer, or not now. Nothing was sent, or sending again is harmless."""

    retry = Retry.SAFE
    hint = "the node does not answer: see `caimi status`, it is asked again by itself"


class SourcesDisagree(ChainError):
    """Two sources of one chain give different answers: abstain, never guess."""

    retry = Retry.AFTER
    certainty = Certainty.PROVEN
    hint = "compare the endpoints of this lane; one of them lies or is on another branch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The tip of a chain, by one node."""

    height: int
    final_height: int
    """Highest block that is final by the lane's rule."""
    final_hash: Bytes32
    time: UnixSeconds
    """The chain's clock at the tip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalEvent:
    """One sequenced event in a final block."""

    item: Item
    height: int
    block_hash: Bytes32
    transaction: str
    """The ledger's own transaction id, as its tools show it."""
    time: UnixSeconds
    """The chain's clock when it happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationView:
    """A publication as one registry shows it (spec 30 §6)."""

    role: Role
    state: State
    publisher: Address
    name: str
    version: int
    home: Lane
    mirrors: tuple[Lane, ...]
    deposit: int
    deadline: UnixSeconds
    awaited: int
    reason: AbortReason


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView:
    """A batch as one registry shows it (spec 37 §5)."""

    role: Role
    state: State
    count: int
    """Publications, 1 to 256; 0 at a mirror until home has decided."""
    taken: int
    """Bit i: the publication at index i was taken out before home decided."""
    earliest: UnixSeconds
    latest: UnixSeconds
    deposits: int
    awaited: int
    reason: AbortReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorSetView:
    """The validator set in force at a registry."""

    epoch: Epoch
    f: int
    t: int
    validators: tuple[Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakesView:
    """A registry's brakes (spec 35 §4)."""

    paused: bool
    counter: int
    """Of the last order; the next one has 1 more."""
    since: UnixSeconds
    """Time of the last pause, by the registry's clock."""
    resume_delay: int
    """Seconds from a pause to the earliest resumption."""
    withdrawal_cap: int
    """Of all withdrawals of an epoch together; 0 for none."""
    withdrawn: int
    """In the present epoch, counted where there is a cap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedCall:
    """A signed transaction that is ready to send; sending the same bytes twice takes effect at most once."""

    transaction: str
    """The ledger's transaction id, known before sending."""
    raw: bytes
    slot: int | None
    """The account nonce it uses, where the ledger has such a thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Included:
    """It is on the ledger and took effect."""

    height: int
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """It is on the ledger and did nothing (a revert, or a Fabric transaction marked invalid): prepare afresh."""

    cause: str
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NotIncluded:
    """The node knows it, or may still take it: wait, or send the same bytes again."""

    is_forgotten: bool = False
    """The node says that it does not have it: what waited there is gone, as after a restart, or never came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """It can never be included (its slot is used by another transaction): prepare afresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusUnknown:
    """The node cannot say. Never a reason to send something else."""

    because: str


CallStatus = Included | Reverted | NotIncluded | Lost | StatusUnknown


class ChainReader(Protocol):
    """Reading one lane. Answers are of final blocks unless said otherwise."""

    @property
    def lane(self) -> Lane:
        """The lane this port reads."""
        ...

    async def head(self) -> Head:
        """The tip. Raises `ChainUnavailable`, or `WrongChain` if the node is of another chain."""
        ...

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        """Final events numbered `first`, `first`+1, ... in order and gapless, at most `limit`; empty if none yet."""
        ...

    async def block_hash(self, height: int) -> Bytes32 | None:
        """Hash of the block at `height` on the present branch, None above the tip."""
        ...

    async def publication(self, identifier: PublicationId) -> PublicationView | None:
        """The record at the tip, None if the registry has none."""
        ...

    async def batch(self, home: Lane, root: Bytes32) -> BatchView | None:
        """The record of a batch at the tip, None if the registry has none."""
        ...

    async def batch_ids(self, root: Bytes32) -> tuple[PublicationId, ...] | None:
        """The ids of a batch locked here, by index, from a final block's log; None if there is none yet."""
        ...

    async def state_in(self, identifier: PublicationId, proof: BatchProof) -> tuple[Role, State]:
        """What its own record and its batch say of a publication, at the tip.

        Raises:
            UnknownBatch, ItemOutOfRun, ProofTooShort, ProofTooLong, WrongRoot: The registry's refusal of the proof.
        """
        ...

    async def balance(self, account: Address) -> int:
        """Registry balance at the tip."""
        ...

    async def tokens(self, account: Address) -> int:
        """Outside tokens of the account at the tip."""
        ...

    async def receipt_of(self, request: Bytes32) -> Bytes32 | None:
        """Receipt hash of a request answered here (at the tip), None if not answered."""
        ...

    async def is_marked(self, source: Lane, generation: Generation, sequence: Sequence) -> bool:
        """Whether that event was applied here (at the tip)."""
        ...

    async def validator_set(self) -> ValidatorSetView:
        """The set in force (at the tip)."""
        ...

    async def brakes(self) -> BrakesView:
        """The registry's brakes at the tip."""
        ...

    async def root(self) -> Lane:
        """The registry whose word governs lanes, fixed at creation."""
        ...

    async def governed(self, lane: Lane) -> GovernedLane:
        """What the registry knows at the tip of governance's last decision about `lane`."""
        ...


@runtime_checkable
class Forgetful(Protocol):
    """A reader that keeps what its node said: what was contradicted is asked again, or a lie outlives its node."""

    async def forget(self, first: Sequence) -> None:
        """Keep nothing of the events numbered `first` and on."""
        ...


@runtime_checkable
class Paying(Protocol):
    """A port whose transactions cost the chain's own money."""

    async def funds(self) -> int:
        """What the paying account has at the tip, in the chain's smallest unit. Raises as `ChainReader.head`."""
        ...


class ChainPort(ChainReader, Protocol):
    """Reading a lane and sending calls to its registry."""

    async def next_slot(self) -> int | None:
        """Account nonce of the sender's next transaction by the node's latest block; None where there is none."""
        ...

    async def prepare(self, call: bytes, *, slot: int | None) -> PreparedCall:
        """Try the call against the present state, then build and sign its transaction; nothing is sent.

        `call` is selector and arguments (spec 10 §2).

        Raises:
            Refusal: The registry would refuse it (the class and arguments of spec/errors.toml).
            ChainUnavailable: Ask again later.
        """
        ...

    async def reprice(self, prepared: PreparedCall) -> PreparedCall:
        """The same call with the same slot at a higher fee, which replaces the other in a pool; nothing is sent.

        The ledger takes at most one of the two. The call is not tried again. Only where transactions have slots.

        Raises:
            FeeBoundReached: It would cost more than the operator allows.
            SenderUnfunded: The sender cannot pay it.
            CallRejected: This ledger knows no slots.
            ChainUnavailable: Ask again later.
        """
        ...

    async def fill(self, slot: int) -> PreparedCall:
        """A transaction that does nothing but use up `slot`, so that later ones can follow; nothing is sent.

        Raises:
            As `reprice`.
        """
        ...

    async def send(self, prepared: PreparedCall) -> None:
        """Hand the bytes to the ledger; already known bytes are fine.

        Raises:
            FeeTooLow: Its price does not do now: `reprice` it.
            ChainUnavailable: Not known whether it arrived: `status` tells.
        """
        ...

    async def status(self, prepared: PreparedCall) -> CallStatus:
        """What became of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardMessage:
    """One message of a key ceremony as the ledger has it."""

    phase: int
    """u8 (spec 41 §2)."""
    index: int
    """Seat of the poster, u8."""
    body: bytes
    signature: bytes
    """Of the `BoardPost` by the poster's account, 65 bytes; the registry has verified it."""


class BoardPort(Protocol):
    """The board of the root chain: leases, sealed partials, messages of key ceremonies."""

    async def lease(self, identifier: Bytes32) -> LeaseRequest | None:
        """The lease record, None if there is none."""
        ...

    async def leases_since(self, height: int) -> tuple[int, tuple[Bytes32, ...]]:
        """Leases opened in final blocks above `height`; also the height up to which this is complete."""
        ...

    async def partials(self, lease: Bytes32) -> tuple[bytes, ...]:
        """Sealed partials by share index (place i is index i+1), empty where there is none."""
        ...

    async def posts(self, epoch: Epoch) -> tuple[BoardMessage, ...]:
        """Messages of key ceremonies of an epoch, in the ledger's order; what is final only."""
        ...

    async def post_partial(self, call: bytes, sealed: bytes) -> None:
        """Send `postPartial` with its transient value and wait until it is on the ledger."""
        ...

    async def post(self, call: bytes) -> None:
        """Send another board call and wait until it is on the ledger."""
        ...
