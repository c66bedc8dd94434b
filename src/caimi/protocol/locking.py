"""What a lock takes from its publisher at home: deposit, nonce and name, alone or in a batch (spec 30 §3)."""

from __future__ import annotations

from dataclasses import dataclass, field

from caimi.crypto.ecdsa import recover
from caimi.protocol.publication import Role, State
from caimi.protocol.registry_state import PublicationRecord, RegistryState
from caimi.protocol.validity import check_publication
from caimi.types.errors import LowBalance, NameTaken, NearDeadline, NonceUsed, PastDeadline, SmallDeposit, WrongSigner
from caimi.types.primitives import Address, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import Publication
from caimi.wire.digests import publication_id

__all__ = ["Reservations", "is_locked_here", "new_record", "verify_publisher"]


def verify_publisher(network: Bytes32, publication: Publication, signature: bytes) -> PublicationId:
    """The id of what its publisher signed.

    Raises:
        BadLength, HighS, BadSignature, WrongSigner: It is not signed by its publisher.
    """
    identifier = publication_id(network, publication)
    signer = recover(identifier, signature)
    if signer != publication.publisher:
        raise WrongSigner(publication.publisher, signer)
    return identifier


def is_locked_here(state: RegistryState, identifier: PublicationId, publication: Publication) -> bool:
    """Whether this home knows the publication, alone or in a batch: a lock leaves its id under the nonce."""
    if identifier in state.publications:
        return True
    return state.nonces.get((publication.publisher, publication.nonce)) == identifier


def new_record(publication: Publication, role: Role, state: State, *, deposit: int) -> PublicationRecord:
    """The record of a publication that nobody has answered yet."""
    return PublicationRecord(
        role=role,
        state=state,
        publisher=publication.publisher,
        name=publication.name,
        version=publication.version,
        home=publication.home,
        mirrors=publication.mirrors,
        deposit=deposit,
        deadline=publication.deadline,
        awaited=len(publication.mirrors) if role is Role.HOME else 0,
    )


@dataclass(slots=True)
class Reservations:
    """What the locks of one call will take. Nothing is written before all of them are lawful."""

    state: RegistryState
    nonces: dict[tuple[Address, Bytes32], Bytes32] = field(default_factory=dict[tuple[Address, Bytes32], Bytes32])
    names: set[tuple[Address, str, int]] = field(default_factory=set[tuple[Address, str, int]])
    spent: dict[Address, int] = field(default_factory=dict[Address, int])

    def add(self, identifier: PublicationId, publication: Publication, now: UnixSeconds) -> None:
        """Check one more lock, as if those before it were done.

        Raises:
            UnsupportedFormat, ... BadMirrors: A permanent reason (spec 30 §4).
            PastDeadline, NearDeadline, SmallDeposit, NonceUsed, NameTaken, LowBalance: In this order.
        """
        check_publication(publication)
        config, state = self.state.config, self.state
        if now > publication.deadline:
            raise PastDeadline(publication.deadline, now)
        earliest = now + 2 * config.clock_window
        if publication.deadline < earliest:
            raise NearDeadline(publication.deadline, earliest)
        if publication.deposit < config.min_deposit:
            raise SmallDeposit(config.min_deposit, publication.deposit)
        publisher = publication.publisher
        nonce = (publisher, publication.nonce)
        if nonce in state.nonces or nonce in self.nonces:
            raise NonceUsed(publication.nonce)
        name = (publisher, publication.name, publication.version)
        if name in state.taken_names or name in self.names:
            raise NameTaken
        have = state.balances.get(publisher, 0) - self.spent.get(publisher, 0)
        if have < publication.deposit:
            raise LowBalance(publication.deposit, have)
        self.nonces[nonce] = identifier
        self.names.add(name)
        self.spent[publisher] = self.spent.get(publisher, 0) + publication.deposit

    def holds(self, identifier: PublicationId, publication: Publication) -> bool:
        """Whether this very publication is among them."""
        return self.nonces.get((publication.publisher, publication.nonce)) == identifier

    def take(self) -> None:
        """Write all of it."""
        self.state.nonces.update(self.nonces)
        self.state.taken_names |= self.names
        for publisher, amount in self.spent.items():
            self.state.debit(publisher, amount)
