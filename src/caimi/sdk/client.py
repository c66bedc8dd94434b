"""`Client`: the whole library behind one object. `caimi.sdk.sync_client` is its twin without async."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from caimi.crypto.ecdsa import SigningKey
from caimi.ports.chain import Head, PublicationView
from caimi.protocol.batches import batch_root
from caimi.sdk.batches import BatchEntry, PublishedBatch, check_batch, check_deposits, ensure_record, post_batch
from caimi.sdk.connections import Connections, home_token
from caimi.sdk.drafts import DraftFolder
from caimi.sdk.errors import DirectDeadlineTooFar, TakesTooLong, UnknownName
from caimi.sdk.models import Model, find_model, list_models, model_of, states_of
from caimi.sdk.network import Network, default_home, read_network
from caimi.sdk.patience import Patience, Waiting
from caimi.sdk.preparing import Terms, check, prepare
from caimi.sdk.publishing import PublishStep, SignedPublication, post
from caimi.sdk.tracing import Trace, parse_id, read_trace
from caimi.types.errors import CaimiError
from caimi.types.primitives import Address, Bytes32, PublicationId
from caimi.types.records import Lane

if TYPE_CHECKING:
    import numpy as np

    from caimi.sdk.bundles import LocalBundle
    from caimi.sdk.direct import DirectInference, DirectLine
    from caimi.sdk.inference import Inference
    from caimi.sdk.receipts import AnyReceipt
    from caimi.sdk.verification import RegistryAnswer

__all__ = ["BatchEntry", "Client", "Published", "PublishedBatch", "PublishStep"]

_POLL_S: Final = 0.3
_MOST_MODELS: Final = 1000
PATIENCE_S: Final = 90.0
"""How long a process that does not answer is asked again, unless said otherwise: it may be being restarted."""
ANSWER_S: Final = 600
"""How long a request waits for its answer, unless said otherwise."""
DIRECT_S: Final = 30
"""How long a direct call may take, unless said otherwise."""
LONGEST_DIRECT_S: Final = 60
"""How long it may take at most: a host remembers requests for so long."""
IN_FLIGHT: Final = 64
"""How many direct calls of many are made at a time, unless said otherwise."""
MOST_IN_FLIGHT: Final = 1024
"""How many may be."""
DEADLINE_S: Final = 600
"""How long a publication may take before home aborts it, unless said otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A publication that the relay has accepted."""

    signed: SignedPublication
    unknown_mirrors: tuple[str, ...]
    """Mirrors that the relay does not serve: unless another one does, home aborts after the deadline."""
    draft: str
    """Under which its draft is kept; to be dropped when it is settled."""

    @property
    def id(self) -> PublicationId:
        """The publication's id."""
        return self.signed.id


class Client:
    """One network. Use as `async with Client.open() as client`, or call `close`."""

    def __init__(
        self,
        network: Network,
        *,
        token: str | None = None,
        patience_s: float = PATIENCE_S,
        waiting: Waiting | None = None,
    ) -> None:
        """Arguments:
        network: see `read_network`.
        token: for changing calls; by default the one in the state folder, if there is one.
        patience_s: how long a process or node that does not answer is asked again.
        waiting: told which one does not, and that it answers again.
        """
        patience = Patience(patience_s, waiting)
        self._connections = Connections(network, token=token or home_token(network.home), patience=patience)
        self._lines: dict[Address, DirectLine] = {}
        self._usable: set[PublicationId] = set()

    @classmethod
    def open(cls, home: Path | None = None, *, waiting: Waiting | None = None) -> Client:
        """The network of a state folder; by default CAIMI_HOME, else the XDG state folder.

        Arguments:
            waiting: as of `Client`.
        Raises:
            NoNetwork, OtherFormat, MalformedFile: See `read_network`.
        """
        return cls(read_network(home or default_home()), waiting=waiting)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

    @property
    def network(self) -> Network:
        """The network's description."""
        return self._connections.network

    def lane(self, name: str) -> Lane:
        """Chain and registry of a lane.

        Raises:
            UnknownName: There is none of that name.
        """
        return self.network.lane(name).lane

    async def publish(
        self,
        path: Path,
        *,
        account: SigningKey,
        name: str,
        version: int,
        home: str,
        mirrors: Sequence[str | Lane],
        deposit: int | None = None,
        deadline_s: int = DEADLINE_S,
        drafts: DraftFolder | None = None,
        progress: Callable[[PublishStep], None] | None = None,
    ) -> Published:
        """Encrypt and upload a model, and hand the signed publication to the relay. Does not wait for the outcome.

        Arguments:
            path: An ONNX file, or a folder with exactly one.
            home: Lane that decides and holds the deposit.
            mirrors: 1 to 7 lanes, by name or by chain and registry.
            deposit: u128; by default the least that home takes.
            deadline_s: Seconds from now, by home's clock, after which home aborts.
            drafts: Where an interrupted publication is taken up again; without it, repeating begins anew.
        Raises:
            BadBundle, ModelRefused: The path holds no model that a host would load.
            NoGroupKey: The validators have no key yet.
            Refusal: What a registry would refuse for ever, or at once: the deposit, the balance and the name too.
            StoreUnavailable, ServiceUnavailable: Repeat it; with `drafts` it goes on where it stopped.
        """
        terms = Terms(name=name, version=version, home=home, mirrors=mirrors, deposit=deposit, deadline_s=deadline_s)
        tell = progress or _silent
        key, signed = await prepare(self._connections, path, terms, account, drafts=drafts, tell=tell)
        tell(PublishStep(name="relay"))
        return Published(signed=signed, unknown_mirrors=await post(self._connections, signed), draft=key)

    async def publish_batch(
        self,
        entries: Sequence[BatchEntry],
        *,
        account: SigningKey,
        home: str,
        mirrors: Sequence[str | Lane],
        deposit: int | None = None,
        deadline_s: int = DEADLINE_S,
        drafts: DraftFolder | None = None,
        progress: Callable[[int, PublishStep], None] | None = None,
    ) -> PublishedBatch:
        """Encrypt and upload several models, and hand them to the relay as one batch: one lock, one decision.

        Arguments:
            entries: 1 to 256, as many as home's lane takes.
            deposit: u128, of each; by default the least that home takes.
            progress: Told the index and its step.
            The others as of `publish`.
        Raises:
            EmptyBatch, BatchTooLong: By their number.
            BatchItem: What home would refuse one of them with, and its index.
            As `publish`.
        """
        await check_batch(self._connections, home, len(entries))
        ready: list[tuple[str, SignedPublication]] = []
        for index, entry in enumerate(entries):
            terms = Terms(
                name=entry.name,
                version=entry.version,
                home=home,
                mirrors=mirrors,
                deposit=deposit,
                deadline_s=deadline_s,
            )
            tell = functools.partial(progress, index) if progress else _silent
            ready.append(await prepare(self._connections, entry.path, terms, account, drafts=drafts, tell=tell))
        signed = tuple(one for _, one in ready)
        await check_deposits(self._connections, home, account.address, signed)
        return PublishedBatch(
            root=batch_root(tuple(one.id for one in signed)),
            signed=signed,
            unknown_mirrors=await post_batch(self._connections, signed),
            drafts=tuple(key for key, _ in ready),
        )

    async def check_publication(
        self,
        path: Path,
        *,
        account: SigningKey,
        name: str,
        version: int,
        home: str,
        mirrors: Sequence[str | Lane],
        deposit: int | None = None,
        deadline_s: int = DEADLINE_S,
    ) -> LocalBundle:
        """All checks of `publish`; nothing is uploaded or sent. Raises as `publish`."""
        terms = Terms(name=name, version=version, home=home, mirrors=mirrors, deposit=deposit, deadline_s=deadline_s)
        return await check(self._connections, path, terms, account)

    async def wait_settled(
        self, identifier: Bytes32, *, timeout_s: float, progress: Callable[[Trace], None] | None = None
    ) -> Trace:
        """Wait until every ledger has the outcome of a publication, or a request is answered.

        Arguments:
            progress: Told each time that something has changed.
        Raises:
            TakesTooLong: Not within `timeout_s`.
            RefusedByRegistry: It never will be: home refuses the publication, or the registry the request.
            UnknownName, ServiceUnavailable: Of the relay.
        """
        until, last = time.monotonic() + timeout_s, None
        while True:
            trace = await self.trace(identifier)
            if progress is not None and trace != last:
                progress(trace)
            last = trace
            if trace.is_settled:
                return trace
            refused = trace.refused()
            if refused is not None:
                raise refused
            if time.monotonic() > until:
                raise TakesTooLong(f"{timeout_s:.0f} s; it waits for {trace.waits_for}")
            await asyncio.sleep(_POLL_S)

    async def trace(self, identifier: Bytes32) -> Trace:
        """Every step of a publication or an inference request.

        Raises:
            UnknownName: The relay knows neither.
            ServiceUnavailable, ServiceAnswer: Of the relay.
        """
        return await read_trace(self._connections, identifier)

    async def states(self, identifier: PublicationId, lanes: Sequence[str]) -> dict[str, str]:
        """A publication's state on each lane, asked of the ledgers themselves.

        Raises:
            ChainError: Of a ledger.
        """
        return await states_of(self._connections, identifier, tuple(lanes))

    async def publication(self, identifier: PublicationId, lane: str) -> PublicationView | None:
        """A publication as the registry of a lane shows it at its tip; None if it has none.

        Raises:
            UnknownName, ChainError: No such lane; or of its ledger.
        """
        return await self._connections.reader(lane).publication(identifier)

    async def head(self, lane: str) -> Head:
        """The tip of a lane's chain.

        Raises:
            UnknownName, ChainError: No such lane; or of its ledger.
        """
        return await self._connections.reader(lane).head()

    async def models(self, *, limit: int = 100) -> tuple[Model, ...]:
        """The newest publications, as their ledgers show them.

        Raises:
            ServiceUnavailable, ServiceAnswer, ChainError: Of the relay or a ledger.
        """
        return await list_models(self._connections, limit=limit)

    async def infer(
        self,
        publication: PublicationId,
        inputs: Mapping[str, np.ndarray[Any, Any]],
        *,
        lane: str,
        account: SigningKey,
        deadline_s: int = ANSWER_S,
        drafts: DraftFolder | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Inference:
        """Ask a published model for one answer by the registry of a lane, and verify its receipt.

        Arguments:
            inputs: Arrays by the names of the model's inputs.
            lane: Where the request is recorded and the answer accepted; the publication is COMMITTED there.
            deadline_s: Seconds from now, by the lane's clock, after which the registry takes no answer.
            drafts: Where an interrupted request is taken up again; drop `Inference.draft` when the answer is stored.
            progress: Told what it waits for.
        Raises:
            NotServed, NotServedYet: The publication is not COMMITTED on that lane.
            NoHost, UnknownOperator, HostKeyExpired: Nobody answers on this network, or nobody vouches for who does.
            RefusedByRegistry, InputRefused, NotAnswered: It will not be answered.
            UnprovenAnswer: The receipt does not hold; the outputs are not given out.
            TakesTooLong, ServiceUnavailable, ChainError: Ask again; with `drafts` the request goes on.
        """
        from caimi.sdk.asking import Question, ask

        question = Question(publication=publication, inputs=inputs, lane=lane, account=account, deadline_s=deadline_s)
        return await ask(self._connections, question, drafts=drafts, progress=progress or _ignored)

    async def infer_direct(
        self,
        publication: PublicationId,
        inputs: Mapping[str, np.ndarray[Any, Any]],
        *,
        account: SigningKey,
        deadline_s: int = DIRECT_S,
    ) -> DirectInference:
        """Ask the host itself for one answer, without a ledger, and verify its receipt. Cancelling it ends the call.

        Arguments:
            inputs: Arrays by the names of the model's inputs.
            deadline_s: 1 to 60 seconds, within which a busy host is asked again.
        Raises:
            DirectDeadlineTooFar: Beyond 60 seconds.
            NoHost, UnknownOperator, HostKeyExpired: Nobody answers on this network, or nobody vouches for who does.
            InputRefused: The model does not take this input.
            HostOverloaded, ServiceUnavailable: Not within the deadline; ask again.
            UnprovenAnswer: The receipt does not hold; the outputs are not given out.
            UnknownName, ServiceRefused, Refusal: The host knows no such publication, or may not serve it.
        """
        line = self._direct_line(account, deadline_s)
        await self._make_usable(publication)
        return await line.ask(publication, inputs, deadline_s=deadline_s)

    async def infer_each(
        self,
        publication: PublicationId,
        inputs: Iterable[Mapping[str, np.ndarray[Any, Any]]],
        take: Callable[[int, DirectInference | CaimiError], None],
        *,
        account: SigningKey,
        deadline_s: int = DIRECT_S,
        in_flight: int = IN_FLIGHT,
    ) -> int:
        """Ask the host itself for one answer to each of many inputs; what becomes of one does not touch the others.

        Arguments:
            inputs: Taken one by one, when there is room.
            take: Given the place of an input and its answer, or why there is none (as of `infer_direct`), as they come.
            in_flight: How many are asked at a time; 1024 at most are.
        Returns:
            How many inputs there were.
        Raises:
            DirectDeadlineTooFar: Beyond 60 seconds.
        """
        line, at_a_time = self._direct_line(account, deadline_s), min(max(in_flight, 1), MOST_IN_FLIGHT)
        await self._make_usable(publication)
        return await line.ask_each(publication, inputs, take, deadline_s=deadline_s, in_flight=at_a_time)

    async def _make_usable(self, publication: PublicationId) -> None:
        # Asked once: a record stays.
        if publication not in self._usable:
            await ensure_record(self._connections, publication, _ignored)
            self._usable.add(publication)

    def _direct_line(self, account: SigningKey, deadline_s: int) -> DirectLine:
        from caimi.sdk.direct import DirectLine

        if deadline_s > LONGEST_DIRECT_S:
            raise DirectDeadlineTooFar(f"{deadline_s} s, at most {LONGEST_DIRECT_S} are served")
        if account.address not in self._lines:
            self._lines[account.address] = DirectLine(self._connections, account, self._connections.host_wire())
        return self._lines[account.address]

    async def ask_registry(self, file: AnyReceipt) -> RegistryAnswer:
        """What the registry that took a receipt's request holds, or the board of a direct call's lease; why, if it
        cannot be asked."""
        from caimi.sdk.receipts import DirectReceiptFile
        from caimi.sdk.verification import RegistryAnswer

        if isinstance(file, DirectReceiptFile):
            try:
                return RegistryAnswer(lease=await self._connections.lease(file.receipt.lease))
            except CaimiError as error:
                return RegistryAnswer(failure=error)
        name = self.network.lane_name(file.request.at)
        try:
            found = await self._connections.reader(name).receipt_of(file.receipt.request)
        except CaimiError as error:
            return RegistryAnswer(receipt_hash=None, failure=error)
        return RegistryAnswer(receipt_hash=found)

    async def find_model(self, text: str) -> Model:
        """A publication by its id, by `name@version`, or by its name: then the highest committed version.

        Raises:
            UnknownName: The relay knows no such publication, or several publishers use that name.
            ServiceUnavailable, ChainError: Of the relay or a ledger.
        """
        try:
            identifier = PublicationId(parse_id(text))
        except UnknownName:
            return find_model(await self.models(limit=_MOST_MODELS), text)
        return await model_of(self._connections, identifier)

    async def balance(self, lane: str, account: Address) -> int:
        """An account's balance at the registry of a lane, in units of its token.

        Raises:
            UnknownName, ChainError: No such lane; or of its ledger.
        """
        return await self._connections.reader(lane).balance(account)


def _silent(step: PublishStep) -> None:
    del step


def _ignored(text: str) -> None:
    del text
