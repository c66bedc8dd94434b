"""Carries the events of one lane to another: a cursor, a certificate, a queued `applyRun` (spec 20)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from caimi.crypto.quorum import ValidatorSet
from caimi.ports.chain import Forgetful
from caimi.ports.clock import Clock
from caimi.ports.metrics import RUN_EVENTS
from caimi.ports.observer import Observer
from caimi.ports.relay_store import (
    AddCall,
    CallRow,
    CallState,
    MoveCursor,
    PutCall,
    RelayStep,
    RelayStore,
)
from caimi.ports.tracing import working_on
from caimi.ports.validators import NotYet
from caimi.relay.backoff import Pauses
from caimi.relay.calls import (
    Failure,
    carried_run,
    carry_key,
    carry_prefix,
    changed,
    concerns,
    failed,
    subjects_of,
)
from caimi.relay.certifier import Certifier, NoQuorum, Range
from caimi.relay.follower import Follower
from caimi.relay.lanes import RelayLane
from caimi.relay.resumption import LaneDecisions, events_dropped
from caimi.relay.runs import apply_run_call, run_row, stored_run
from caimi.relay.waiting import CertificateWait
from caimi.types.errors import CaimiError, WrongGeneration
from caimi.types.primitives import Generation, Sequence
from caimi.types.records import Certificate, Item
from caimi.wire.digests import leaf_hash
from caimi.wire.merkle import merkle_root

__all__ = ["Carrier"]

_WINDOW: Final = 1024


class Carrier:
    """Carries from `source` to `destination`."""

    def __init__(
        self,
        source: RelayLane,
        destination: RelayLane,
        *,
        follower: Follower,
        decisions: LaneDecisions,
        certifier: Certifier,
        store: RelayStore,
        clock: Clock,
        observer: Observer,
        pauses: Pauses,
    ) -> None:
        self._source = source
        self._destination = destination
        self._follower = follower
        self._decisions = decisions
        self._certifier = certifier
        self._store = store
        self._clock = clock
        self._observer = observer
        self._pauses = pauses
        self._trouble: CertificateWait | None = None

    @property
    def trouble(self) -> CertificateWait | None:
        """What is in the way of the next certificate, None if nothing was when it was last asked for."""
        return self._trouble

    async def turn(self) -> None:
        """Move the cursor as far as certificates allow, and certify refused runs again.

        Raises:
            CaimiError: Validators or a ledger do not give what is needed now.
        """
        if self._pauses.waits(self) or self._decisions.of(self._source.lane).dropped:
            return
        try:
            while await self._advance():
                pass
            await self._certify_again()
        except CaimiError as error:
            self._pauses.failed(self)
            is_validators = isinstance(error, NotYet | NoQuorum)
            missing = self._certifier.missing(self._source.lane) if is_validators else ()
            self._trouble = CertificateWait(text=f"{type(error).__name__}: {error}", missing=missing)
            raise
        self._trouble = None
        self._pauses.over(self)

    async def _advance(self) -> bool:
        source, destination = self._source.lane, self._destination.lane
        cursor = self._store.cursor(source, destination)
        events = self._store.followed(source, Sequence(cursor + 1), _WINDOW)
        if not events:
            return False
        run = tuple(event.item for event in events)
        chosen = tuple(i for i in run if concerns(i.event, destination))[: self._destination.run_items]
        if not chosen:
            cursor_moved = MoveCursor(source=source, destination=destination, sequence=run[-1].sequence)
            self._store.write(RelayStep.PASSED, cursor_moved)
            return True
        # The range asked for begins and ends with an event to carry: it is final as early as can be.
        run = tuple(i for i in run if chosen[0].sequence <= i.sequence <= chosen[-1].sequence)
        subjects = tuple(dict.fromkeys(subject for item in chosen for subject in subjects_of(item.event)))
        with working_on(*subjects), self._telling(run):
            certificate = await self._certify(run)
        if certificate is None:
            return False
        generation = certificate.checkpoint.generation
        if (generation, cursor) != (self._generation, self._store.cursor(source, destination)):
            # The lane was resumed, or its events dropped, while the validators were asked.
            return True
        key = carry_key(self._source.name, self._destination.name, run[0].sequence, run[-1].sequence, generation)
        row = run_row(key, destination, apply_run_call(certificate, run, chosen), chosen, self._clock.now())
        moved = MoveCursor(source=source, destination=destination, sequence=run[-1].sequence)
        self._store.write(RelayStep.CARRIED, AddCall(row=row), moved)
        pair = {"source": self._source.name, "destination": self._destination.name}
        self._observer.observe(RUN_EVENTS, len(chosen), **pair)
        signers = ", ".join(str(signature.signer + 1) for signature in certificate.signatures)
        self._observer.step(
            "relay.carried",
            about=subjects,
            source=self._source.name,
            destination=self._destination.name,
            first=run[0].sequence,
            last=run[-1].sequence,
            validators=signers,
        )
        return True

    @contextmanager
    def _telling(self, run: tuple[Item, ...]) -> Generator[None]:
        # That a range is not final yet is no news.
        try:
            yield
        except NotYet:
            raise
        except CaimiError as error:
            self._observer.step(
                "relay.not-certified",
                source=self._source.name,
                destination=self._destination.name,
                first=run[0].sequence,
                last=run[-1].sequence,
                error=type(error).__name__,
                text=str(error),
            )
            raise

    async def _certify(self, run: tuple[Item, ...]) -> Certificate | None:
        # None: what is stored is not what a quorum saw; it is dropped and read again.
        view = await self._destination.port.validator_set()
        validators = ValidatorSet(validators=view.validators, f=view.f, t=view.t)
        source = self._source.lane
        wanted = Range(source=source, generation=self._generation, first=run[0].sequence, last=run[-1].sequence)
        certificate = await self._certifier.certify(
            wanted, validators=validators, epoch=view.epoch, name=self._source.name
        )
        if merkle_root([leaf_hash(source, item) for item in run]) == certificate.checkpoint.root:
            return certificate
        self._observer.step("relay.source-contradicted", lane=self._source.name, first=wanted.first, last=wanted.last)
        port = self._source.port
        if isinstance(port, Forgetful):
            await port.forget(wanted.first)
        self._store.write(RelayStep.REWOUND, events_dropped(self._store, source, wanted.first))
        self._follower.read_again()
        return None

    @property
    def _generation(self) -> Generation:
        return self._decisions.generation(self._source)

    def _give_way(self, row: CallRow, certificate: Certificate) -> None:
        # It was certified before the lane was resumed and is not what the lane holds now: its part that is still there
        # is carried anew, with what took the place of the rest.
        cause = Failure.of(WrongGeneration(self._generation, certificate.checkpoint.generation))
        over = failed(row, CallState.REFUSED, cause, self._clock.now())
        dropped = events_dropped(self._store, self._source.lane, certificate.checkpoint.first_sequence)
        self._store.write(RelayStep.REWOUND, PutCall(row=over), dropped)
        self._follower.read_again()

    async def _certify_again(self) -> None:
        prefix = carry_prefix(self._source.name, self._destination.name)
        for row in self._store.calls(self._destination.lane, CallState.UNCERTIFIED, _WINDOW):
            if not row.key.startswith(prefix) or self._pauses.waits(row.key):
                continue
            certificate, items, _ = carried_run(row)
            run = stored_run(self._store, certificate.checkpoint)
            if certificate.checkpoint.generation != self._generation and not _holds(certificate, run):
                self._give_way(row, certificate)
                continue
            if run is None:
                continue
            with working_on(*row.subjects), self._telling(run):
                fresh = await self._certify(run)
            if fresh is None:
                return
            wanted = {item.sequence for item in items}
            call = apply_run_call(fresh, run, tuple(item for item in run if item.sequence in wanted))
            again = changed(row, CallState.QUEUED, self._clock.now(), call=call)
            self._store.write(RelayStep.RECERTIFIED, PutCall(row=again))


def _holds(certificate: Certificate, run: tuple[Item, ...] | None) -> bool:
    # Whether a run is what was certified.
    source, root = certificate.checkpoint.source, certificate.checkpoint.root
    return run is not None and merkle_root([leaf_hash(source, item) for item in run]) == root
