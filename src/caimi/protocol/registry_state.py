"""What a registry stores (spec 30 §5), as the reference model keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from caimi.crypto.quorum import ValidatorSet
from caimi.protocol.publication import AbortReason, Disposition, Role, State
from caimi.types.errors import BadValidatorSet, LowBalance, OutOfRange, WrongEpoch, ZeroAmount
from caimi.types.primitives import ZERO32, Address, Bytes32, Epoch, Generation, PublicationId, Sequence, UnixSeconds
from caimi.types.records import Genesis, InferenceRequest, Item, Lane

__all__ = [
    "Announcement",
    "Applied",
    "BatchRecord",
    "Brakes",
    "EpochSigners",
    "Epochs",
    "GovernedLane",
    "Limits",
    "PublicationRecord",
    "RegistryConfig",
    "RegistryState",
    "RequestRecord",
]


_NEVER: Final = UnixSeconds(0)
_FIRST: Final = Generation(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds the loss even if a quorum falls (spec 35 §2). Zero means no cap."""

    resume_delay: int = 0
    """Seconds below 2^32 from a pause to the earliest resumption."""
    withdrawal_cap: int = 0
    """u128, of all withdrawals of an epoch together, in the token's smallest unit."""
    lease_cap: int = 0
    """u64, leases of one operator for one publication in an epoch (board)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brakes:
    """The last pause or resumption."""

    paused: bool = False
    counter: int = 0
    """u64; the next order has 1 more."""
    since: UnixSeconds = _NEVER
    """Time of the last pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernedLane:
    """What governance decided last about a lane."""

    version: int = 0
    """u64; 0 if it never did."""
    generation: Generation = _FIRST
    height: int = 0
    """Of the last block kept."""
    block_hash: Bytes32 = ZERO32
    dropped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochSigners:
    """A validator set that a registry believes."""

    epoch: Epoch
    validators: ValidatorSet
    set_hash: Bytes32 = ZERO32
    """hashStruct of its `EpochSet`; zero of the first, which the genesis descriptor names."""
    transcript: Bytes32 = ZERO32
    """Of its `EpochSet`, which readers of the root thus can present elsewhere; zero of the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A set that the root told of and nobody has presented here yet."""

    epoch: Epoch
    set_hash: Bytes32


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """Which validators count here (spec 42 §1)."""

    present: EpochSigners
    before: EpochSigners | None = None
    """Until it is retired its certificates count too."""
    announced: Announcement | None = None
    """Away from the root."""
    change: Bytes32 = ZERO32
    """At the root: digest of the change that led here."""
    lanes: tuple[Lane, ...] = ()
    """At the root: the registries that had to enter the present epoch."""

    def accepting(self, epoch: Epoch) -> EpochSigners:
        """The set whose certificates of `epoch` count.

        Raises:
            WrongEpoch: None.
        """
        for signers in (self.present, self.before):
            if signers is not None and signers.epoch == epoch:
                return signers
        raise WrongEpoch(self.present.epoch, epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """Given at creation, fixed for ever."""

    lane: Lane
    genesis: Genesis
    min_deposit: int
    """u128, at least 1."""
    clock_window: int
    """Seconds below 2^32 by which this chain's clock may be off; home wants a deadline two of them away."""
    limits: Limits = Limits()
    root: Lane | None = None
    """The registry whose word governs lanes; None for this one (spec 35 §3)."""
    max_run: int = 1024
    """Longest range a certificate may cover."""

    def check(self) -> None:
        """Refuse what no registry is created with, in this order on every ledger (spec 30 §3).

        Raises:
            ZeroAmount: The smallest deposit is 0.
            OutOfRange: It has more than 128 bits, or the clock window or the resume delay more than 32, or a cap more
                than its own.
            BadQuorum, BadValidatorSet: The genesis descriptor is outside the bounds of spec 00 §4.
        """
        if self.min_deposit < 1:
            raise ZeroAmount
        limits = self.limits
        seconds = ((32, self.clock_window), (32, limits.resume_delay))
        for bits, number in ((128, self.min_deposit), *seconds, (128, limits.withdrawal_cap), (64, limits.lease_cap)):
            if number < 0 or number >> bits:
                raise OutOfRange(bits, number)
        ValidatorSet.from_genesis(self.genesis)
        operators = self.genesis.operators
        if not operators or len(set(operators)) != len(operators) or bytes(20) in operators:
            raise BadValidatorSet


@dataclass(slots=True, kw_only=True)
class PublicationRecord:
    """One publication at this registry."""

    role: Role
    state: State
    publisher: Address
    name: str
    version: int
    home: Lane
    mirrors: tuple[Lane, ...]
    deposit: int
    """Escrowed here now; 0 on mirrors and once given back."""
    deadline: UnixSeconds
    awaited: int
    """Mirrors that home still waits for."""
    reason: AbortReason = AbortReason.NONE
    revoked: bool = False
    """Its publisher's revocation is known here. While LOCKED it waits for the outcome; with ABORTED it stays without
    effect."""


@dataclass(slots=True, kw_only=True)
class BatchRecord:
    """One batch at this registry (spec 37)."""

    role: Role
    state: State
    count: int = 0
    """Publications, 1 to 256; 0 at a mirror until home has decided."""
    mirrors: tuple[Lane, ...] = ()
    """Empty at a mirror until home has decided."""
    earliest: UnixSeconds = _NEVER
    latest: UnixSeconds = _NEVER
    """Deadlines, at home."""
    deposits: int = 0
    """Escrowed here now, for the publications that were not taken out."""
    awaited: int = 0
    """Mirrors that home still waits for."""
    taken: int = 0
    """Bit i: the publication at index i was taken out before home decided."""
    reason: AbortReason = AbortReason.NONE


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """One inference request at this registry."""

    request: InferenceRequest
    receipt_hash: Bytes32
    """Zero until ANSWERED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """Note of one carried event: what it did, and the refusal's code if REFUSED (else 0)."""

    source: Lane
    sequence: Sequence
    disposition: Disposition
    code: int


@dataclass(slots=True, kw_only=True)
class RegistryState:
    """All storage of one registry. Only `caimi.protocol.registry` writes to it."""

    config: RegistryConfig
    epochs: Epochs
    acknowledged: dict[Lane, Epoch] = field(default_factory=dict[Lane, Epoch])
    """At the root: the last epoch that a lane is known to have entered."""
    governed: dict[Lane, GovernedLane] = field(default_factory=dict[Lane, GovernedLane])
    """Lanes about which governance has decided."""
    events: list[Item] = field(default_factory=list[Item])
    applied: list[Applied] = field(default_factory=list[Applied])
    marks: set[tuple[Lane, Generation, Sequence]] = field(default_factory=set[tuple[Lane, Generation, Sequence]])
    publications: dict[PublicationId, PublicationRecord] = field(default_factory=dict[PublicationId, PublicationRecord])
    pending_answers: dict[tuple[PublicationId, Lane], State] = field(
        default_factory=dict[tuple[PublicationId, Lane], State]
    )
    """LOCKED or REFUSED of a mirror, by id and mirror: before home's lock, and kept as the mirror's only answer."""
    pending_outcomes: dict[tuple[PublicationId, Lane], State] = field(
        default_factory=dict[tuple[PublicationId, Lane], State]
    )
    """COMMITTED, ABORTED or SUPERSEDED of a home, by id and home, before this mirror's lock."""
    pending_revocations: set[tuple[PublicationId, Lane]] = field(default_factory=set[tuple[PublicationId, Lane]])
    """REVOKED by id and registry that told it, before the lock here."""
    batches: dict[tuple[Lane, Bytes32], BatchRecord] = field(default_factory=dict[tuple[Lane, Bytes32], BatchRecord])
    """By home and root."""
    batch_ids: dict[Bytes32, tuple[PublicationId, ...]] = field(
        default_factory=dict[Bytes32, tuple[PublicationId, ...]]
    )
    """At home, by root, what is logged beside BATCH_LOCKED."""
    pending_batch_answers: dict[tuple[Bytes32, Lane], int] = field(default_factory=dict[tuple[Bytes32, Lane], int])
    """Version of the rules by root and mirror: before home's lock, and kept as the mirror's only answer."""
    taken_names: set[tuple[Address, str, int]] = field(default_factory=set[tuple[Address, str, int]])
    latest: dict[tuple[Address, str], PublicationId] = field(default_factory=dict[tuple[Address, str], PublicationId])
    nonces: dict[tuple[Address, Bytes32], Bytes32] = field(default_factory=dict[tuple[Address, Bytes32], Bytes32])
    """Digest of the action that used the nonce."""
    requests: dict[Bytes32, RequestRecord] = field(default_factory=dict[Bytes32, RequestRecord])
    carried_receipts: dict[Bytes32, Bytes32] = field(default_factory=dict[Bytes32, Bytes32])
    """At home: receipt hash by request that a mirror answered."""
    brakes: Brakes = Brakes()
    withdrawn: dict[Epoch, int] = field(default_factory=dict[Epoch, int])
    """Of an epoch, where there is a cap."""
    balances: dict[Address, int] = field(default_factory=dict[Address, int])
    tokens: dict[Address, int] = field(default_factory=dict[Address, int])
    """Outside balances: ERC-20 or the chaincode's token ledger."""

    @property
    def epoch(self) -> Epoch:
        """The present epoch."""
        return self.epochs.present.epoch

    def debit(self, account: Address, amount: int) -> None:
        """Take from a registry balance.

        Raises:
            LowBalance: There is less.
        """
        have = self.balances.get(account, 0)
        if have < amount:
            raise LowBalance(amount, have)
        self.balances[account] = have - amount

    def credit(self, account: Address, amount: int) -> None:
        """Add to a registry balance."""
        self.balances[account] = self.balances.get(account, 0) + amount

    def root(self) -> Lane:
        """The registry whose word governs lanes."""
        return self.config.root or self.config.lane

    def governance_of(self, lane: Lane) -> GovernedLane:
        """What governance decided last about a lane."""
        return self.governed.get(lane, GovernedLane())

    def escrowed(self) -> int:
        """All deposits held."""
        singles = sum(p.deposit for p in self.publications.values())
        return singles + sum(b.deposits for b in self.batches.values())
