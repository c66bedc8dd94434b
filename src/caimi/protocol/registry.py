"""Reference model of a registry: what every ledger's contract does, call by call (spec 30 §3).

Each entry point is read in one order: AUTHORITY - REPEAT - CHECKS - EFFECTS - EVENT. A call either raises a `Refusal`
with the state untouched, or returns; a repeated call returns without doing anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from caimi.crypto.ecdsa import recover
from caimi.crypto.quorum import ValidatorSet
from caimi.protocol.application import apply_run
from caimi.protocol.batches import RULES_VERSION, abort_batch, answer_batch, lock_batch
from caimi.protocol.brakes import check_running, check_withdrawal, count_withdrawal, pause, resume
from caimi.protocol.decision import abort_home, emit, meet_answers, meet_outcome, meet_revocations, take_revocation
from caimi.protocol.epochs import change_set, enter_set, retire_set
from caimi.protocol.governance import govern
from caimi.protocol.locking import Reservations, is_locked_here, new_record, verify_publisher
from caimi.protocol.publication import AbortReason, Input, Role, State
from caimi.protocol.registry_state import Epochs, EpochSigners, RegistryConfig, RegistryState, RequestRecord
from caimi.protocol.taking_out import state_in, take_out
from caimi.protocol.validity import check_cid, check_publication
from caimi.types.errors import (
    DeadlineNotPassed,
    Expired,
    HostKeyExpired,
    InBatch,
    LowBalance,
    NonceUsed,
    NotCommitted,
    NotHome,
    NotLocked,
    Refusal,
    UnknownOperator,
    UnknownPublication,
    UnknownRequest,
    WrongCommitment,
    WrongRegistry,
    WrongSigner,
    ZeroAmount,
)
from caimi.types.primitives import ZERO32, Address, Bytes32, Epoch, PublicationId, UnixSeconds
from caimi.types.records import (
    Answer,
    BatchProof,
    Certificate,
    EpochSet,
    Event,
    Funding,
    Governance,
    HostKey,
    InferenceRequest,
    Item,
    Kind,
    Lane,
    Pause,
    Publication,
    Resume,
    Revocation,
    SetChange,
    Signature,
    Withdrawal,
)
from caimi.wire.codec import Record
from caimi.wire.digests import network_id, typed_digest
from caimi.wire.functions import encode_body

__all__ = ["Registry"]


@dataclass(slots=True)
class Registry:
    """One registry. `now` of each call is the chain's clock in Unix seconds."""

    state: RegistryState
    network: Bytes32

    @classmethod
    def create(cls, config: RegistryConfig) -> Registry:
        """A new registry of epoch 1.

        Raises:
            Refusal: Of `RegistryConfig.check`.
        """
        config.check()
        first = EpochSigners(epoch=Epoch(1), validators=ValidatorSet.from_genesis(config.genesis))
        return cls(RegistryState(config=config, epochs=Epochs(present=first)), network_id(config.genesis))

    @property
    def lane(self) -> Lane:
        """This registry as a source of events."""
        return self.state.config.lane

    def version(self) -> int:
        """Version of the registry's rules."""
        return RULES_VERSION

    def fund(self, funding: Funding, signature: bytes, *, now: UnixSeconds) -> None:
        """Move tokens of the signer's account into its balance."""
        if self._authorise(funding, funding.account, funding.at, funding.nonce, signature):
            return
        check_running(self.state)
        self._check_money(funding.amount, funding.deadline, now)
        tokens = self.state.tokens
        if tokens.get(funding.account, 0) < funding.amount:
            raise LowBalance(funding.amount, tokens.get(funding.account, 0))
        tokens[funding.account] -= funding.amount
        self.state.credit(funding.account, funding.amount)
        self._use_nonce(funding.account, funding.nonce, funding)

    def withdraw(self, withdrawal: Withdrawal, signature: bytes, *, now: UnixSeconds) -> None:
        """Move balance of the signer's account out to a recipient's tokens."""
        if self._authorise(withdrawal, withdrawal.account, withdrawal.at, withdrawal.nonce, signature):
            return
        check_running(self.state)
        self._check_money(withdrawal.amount, withdrawal.deadline, now)
        check_withdrawal(self.state, withdrawal.amount)
        self.state.debit(withdrawal.account, withdrawal.amount)
        count_withdrawal(self.state, withdrawal.amount)
        tokens = self.state.tokens
        tokens[withdrawal.recipient] = tokens.get(withdrawal.recipient, 0) + withdrawal.amount
        self._use_nonce(withdrawal.account, withdrawal.nonce, withdrawal)

    def lock_model(self, publication: Publication, signature: bytes, *, now: UnixSeconds) -> PublicationId:
        """Lock at home (escrow the deposit), or answer at a mirror (LOCKED or REFUSED)."""
        identifier = verify_publisher(self.network, publication, signature)
        if self.lane == publication.home:
            role = Role.HOME
        elif self.lane in publication.mirrors:
            role = Role.MIRROR
        else:
            raise WrongRegistry(publication.home.registry, self.lane.registry)
        if identifier in self.state.publications:
            return identifier
        if role is Role.HOME and is_locked_here(self.state, identifier, publication):
            return identifier
        check_running(self.state)
        if role is Role.HOME:
            self._lock_home(identifier, publication, now)
        else:
            self._lock_mirror(identifier, publication)
        return identifier

    def abort(self, identifier: PublicationId, *, now: UnixSeconds) -> None:
        """Abort at home after the deadline; anyone may."""
        record = self.state.publications.get(identifier)
        if record is None:
            raise UnknownPublication(identifier)
        if record.role is not Role.HOME:
            raise NotHome
        if record.state is State.ABORTED:
            return
        if record.state is not State.LOCKED:
            raise NotLocked(record.state)
        if now <= record.deadline:
            raise DeadlineNotPassed(record.deadline, now)
        abort_home(self.state, identifier, Input.DEADLINE, AbortReason.DEADLINE)

    def abort_unlocked(self, publication: Publication, signature: bytes, *, now: UnixSeconds) -> None:
        """After the deadline: record ABORTED for signed bytes home never locked; no name, version or nonce is used."""
        identifier = verify_publisher(self.network, publication, signature)
        if self.lane != publication.home:
            raise NotHome
        if identifier in self.state.publications:
            self.abort(identifier, now=now)
            return
        if is_locked_here(self.state, identifier, publication):
            raise InBatch
        check_publication(publication)
        if now <= publication.deadline:
            raise DeadlineNotPassed(publication.deadline, now)
        self.state.publications[identifier] = new_record(publication, Role.HOME, State.NONE, deposit=0)
        abort_home(self.state, identifier, Input.NEVER_LOCKED, AbortReason.NEVER_LOCKED)

    def lock_batch(
        self, publications: tuple[Publication, ...], signatures: tuple[bytes, ...], *, now: UnixSeconds
    ) -> Bytes32:
        """Lock publications at home as one batch; returns its root."""
        return lock_batch(self.state, self.network, publications, signatures, now=now)

    def answer_batch(self, home: Lane, root: Bytes32, *, now: UnixSeconds) -> None:
        """At a mirror, at any time `now`: promise to hold what home decides about a batch."""
        del now
        answer_batch(self.state, home, root)

    def abort_batch(self, root: Bytes32, *, now: UnixSeconds) -> None:
        """Abort a batch at home after its latest deadline; anyone may."""
        abort_batch(self.state, root, now=now)

    def take_out(
        self, publication: Publication, signature: bytes, proof: BatchProof, *, now: UnixSeconds
    ) -> PublicationId:
        """Give a publication of a batch its own record."""
        return take_out(self.state, self.network, publication, signature, proof, now=now)

    def state_in(self, identifier: PublicationId, proof: BatchProof) -> tuple[Role, State]:
        """What its own record and its batch say of a publication."""
        return state_in(self.state, identifier, proof)

    def apply_run(
        self, certificate: Certificate, items: tuple[Item, ...], proof: tuple[Bytes32, ...], *, now: UnixSeconds
    ) -> None:
        """Apply the events of a certified run that concern this registry, each at most once."""
        apply_run(self.state, self.network, certificate, items, proof, now=now)

    def request_inference(self, request: InferenceRequest, signature: bytes, *, now: UnixSeconds) -> Bytes32:
        """Record a request for one answer from a COMMITTED publication."""
        identifier = typed_digest(self.network, request)
        if self._authorise(request, request.consumer, request.at, request.nonce, signature):
            return identifier
        check_running(self.state)
        if now > request.deadline:
            raise Expired(request.deadline, now)
        record = self.state.publications.get(PublicationId(request.publication))
        if record is None:
            raise UnknownPublication(request.publication)
        if record.state is not State.COMMITTED:
            raise NotCommitted(record.state)
        check_cid(request.input)
        self._use_nonce(request.consumer, request.nonce, request)
        self.state.requests[identifier] = RequestRecord(request=request, receipt_hash=ZERO32)
        body = encode_body(
            Kind.REQUESTED,
            identifier,
            request.consumer,
            request.input,
            request.input_commitment,
            request.client_key,
            request.deadline,
        )
        emit(
            self.state,
            Event(schema=1, kind=Kind.REQUESTED, destinations=(self.lane,), subject=request.publication, body=body),
        )
        return identifier

    def answer_inference(
        self, answer: Answer, signature: bytes, host_key: HostKey, operator_signature: bytes, *, now: UnixSeconds
    ) -> None:
        """Record a host's signed answer to a request made here."""
        operator = recover(typed_digest(self.network, host_key), operator_signature)
        if operator not in self.state.config.genesis.operators:
            raise UnknownOperator(operator)
        signer = recover(typed_digest(self.network, answer), signature)
        if signer != host_key.signing_key:
            raise WrongSigner(host_key.signing_key, signer)
        self._check_lane(answer.at)
        record = self.state.requests.get(answer.request)
        if record is None:
            raise UnknownRequest(answer.request)
        if record.receipt_hash != ZERO32:
            return
        self.state.epochs.accepting(host_key.epoch)
        if now > host_key.until:
            raise HostKeyExpired(host_key.until, now)
        if now > record.request.deadline:
            raise Expired(record.request.deadline, now)
        asked = record.request
        if (answer.publication, answer.input_commitment) != (asked.publication, asked.input_commitment):
            raise WrongCommitment
        if answer.receipt_hash == ZERO32:
            raise WrongCommitment
        check_cid(answer.output)
        record.receipt_hash = answer.receipt_hash
        body = encode_body(Kind.ANSWERED, answer.request, answer.receipt_hash, answer.output)
        home = self.state.publications[PublicationId(asked.publication)].home
        emit(
            self.state,
            Event(schema=1, kind=Kind.ANSWERED, destinations=(home,), subject=asked.publication, body=body),
        )

    def revoke(self, revocation: Revocation, signature: bytes, *, now: UnixSeconds) -> None:
        """Take a publication back for ever, by its publisher's word; the other registries are told."""
        account = revocation.publisher
        if self._authorise(revocation, account, revocation.at, revocation.nonce, signature):
            return
        if now > revocation.deadline:
            raise Expired(revocation.deadline, now)
        identifier = PublicationId(revocation.publication)
        record = self.state.publications.get(identifier)
        if record is None:
            raise UnknownPublication(identifier)
        if record.publisher != account:
            raise WrongSigner(record.publisher, account)
        if not take_revocation(self.state, record):
            return
        self._use_nonce(account, revocation.nonce, revocation)
        others = tuple(lane for lane in (record.home, *record.mirrors) if lane != self.lane)
        body = encode_body(Kind.REVOKED, revocation.reason, self.lane)
        emit(self.state, Event(schema=1, kind=Kind.REVOKED, destinations=others, subject=identifier, body=body))

    def pause(self, order: Pause, signatures: tuple[Signature, ...], *, now: UnixSeconds) -> None:
        """Stop what the registry begins, by the word of f+1 validators."""
        pause(self.state, self.network, order, signatures, now=now)

    def resume(self, order: Resume, signatures: tuple[Signature, ...], *, now: UnixSeconds) -> None:
        """End a pause, by the word of a quorum."""
        resume(self.state, self.network, order, signatures, now=now)

    def govern(self, order: Governance, signatures: tuple[Signature, ...], *, now: UnixSeconds) -> None:
        """At the root: record a quorum's decision about a lane, at any time `now`."""
        del now
        govern(self.state, self.network, order, signatures)

    def change_set(
        self,
        order: SetChange,
        signatures: tuple[Signature, ...],
        next_signatures: tuple[Signature, ...],
        *,
        now: UnixSeconds,
    ) -> None:
        """At the root: the next validator set takes over, at any time `now`."""
        del now
        change_set(self.state, self.network, order, signatures, next_signatures)

    def enter_set(self, following: EpochSet, *, now: UnixSeconds) -> None:
        """Away from the root: the announced validator set takes over, at any time `now`."""
        del now
        enter_set(self.state, following)

    def retire_set(self, *, now: UnixSeconds) -> None:
        """At the root: the set before the present one counts no more, at any time `now`."""
        del now
        retire_set(self.state)

    # --- authority

    def _authorise(self, action: Record, account: Address, at: Lane, nonce: Bytes32, signature: bytes) -> bool:
        # True means: this very action was done before, so that the call is a no-op.
        digest = typed_digest(self.network, action)
        signer = recover(digest, signature)
        if signer != account:
            raise WrongSigner(account, signer)
        self._check_lane(at)
        used = self.state.nonces.get((account, nonce))
        if used is not None and used != digest:
            raise NonceUsed(nonce)
        return used is not None

    def _check_lane(self, at: Lane) -> None:
        if at != self.lane:
            raise WrongRegistry(at.registry, self.lane.registry)

    def _use_nonce(self, account: Address, nonce: Bytes32, action: Record) -> None:
        self.state.nonces[account, nonce] = typed_digest(self.network, action)

    @staticmethod
    def _check_money(amount: int, deadline: UnixSeconds, now: UnixSeconds) -> None:
        if amount < 1:
            raise ZeroAmount
        if now > deadline:
            raise Expired(deadline, now)

    # --- locks

    def _lock_home(self, identifier: PublicationId, publication: Publication, now: UnixSeconds) -> None:
        state = self.state
        reservation = Reservations(state)
        reservation.add(identifier, publication, now)
        reservation.take()
        state.publications[identifier] = new_record(publication, Role.HOME, State.LOCKED, deposit=publication.deposit)
        body = encode_body(Kind.LOCKED, Role.HOME, publication.home)
        emit(
            state,
            Event(schema=1, kind=Kind.LOCKED, destinations=publication.mirrors, subject=identifier, body=body),
        )
        meet_revocations(state, identifier)
        meet_answers(state, identifier)

    def _lock_mirror(self, identifier: PublicationId, publication: Publication) -> None:
        try:
            check_publication(publication)
        except Refusal as reason:
            # The reason is a pure function of the signed bytes, so every mirror and both ways of locking agree on it.
            state, kind = State.REFUSED, Kind.REFUSED
            body = encode_body(Kind.REFUSED, reason.code, publication.home)
        else:
            state, kind = State.LOCKED, Kind.LOCKED
            body = encode_body(Kind.LOCKED, Role.MIRROR, publication.home)
        self.state.publications[identifier] = new_record(publication, Role.MIRROR, state, deposit=0)
        emit(
            self.state,
            Event(schema=1, kind=kind, destinations=(publication.home,), subject=identifier, body=body),
        )
        if state is State.LOCKED:
            meet_revocations(self.state, identifier)
        meet_outcome(self.state, identifier)
