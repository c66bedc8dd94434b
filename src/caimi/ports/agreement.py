"""One reader over several sources of one lane: it says only what all of them say.

A source that lags is waited for, a source that contradicts another makes the reader abstain. Asking all of them means
that one source that is down stops the reader: safety first, and the operator chooses how many there are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from caimi.ports.chain import (
    BatchView,
    BrakesView,
    ChainReader,
    ChainUnavailable,
    FinalEvent,
    Forgetful,
    Head,
    PublicationView,
    SourcesDisagree,
    ValidatorSetView,
)
from caimi.protocol.publication import Role, State
from caimi.protocol.registry_state import GovernedLane
from caimi.types import primitives as p
from caimi.types.errors import WrongRegistry
from caimi.types.records import BatchProof, Lane

__all__ = ["AgreeingReader", "SourcesApart"]

T = TypeVar("T")


class SourcesApart(ChainUnavailable):
    """Sources answer differently about the tip, as they do while one of them lags: no proof of a fault."""

    hint = "asked again by itself; if it stays, compare the endpoints of this lane"


class AgreeingReader:
    """`ChainReader` over one or more readers of the same lane."""

    def __init__(self, readers: Sequence[ChainReader]) -> None:
        """Take the sources, at least one.

        Raises:
            ValueError: There is none.
            WrongRegistry: They read different lanes.
        """
        if not readers:
            raise ValueError("at least one source is needed")
        self._readers = tuple(readers)
        for reader in self._readers:
            if reader.lane != self.lane:
                raise WrongRegistry(self.lane.registry, reader.lane.registry)

    @property
    def lane(self) -> Lane:
        """The lane that all sources read."""
        return self._readers[0].lane

    async def head(self) -> Head:
        """The lowest tip and the lowest final block, which every source has.

        Raises:
            SourcesDisagree: A source holds another block at that final height.
            ChainUnavailable: A source does not answer.
        """
        heads = [await reader.head() for reader in self._readers]
        final = min(heads, key=lambda h: h.final_height)
        for reader, head in zip(self._readers, heads, strict=True):
            same = head.final_height == final.final_height
            there = head.final_hash if same else await reader.block_hash(final.final_height)
            if there != final.final_hash:
                raise SourcesDisagree(f"block {final.final_height}: {_shown(final.final_hash)} and {_shown(there)}")
        tip = min(heads, key=lambda h: h.height)
        return Head(height=tip.height, final_height=final.final_height, final_hash=final.final_hash, time=tip.time)

    async def events(self, first: p.Sequence, limit: int) -> tuple[FinalEvent, ...]:
        """The events that every source has.

        Raises:
            SourcesDisagree: Two sources show different events, blocks or times for one sequence number.
            ChainUnavailable: A source does not answer.
        """
        answers = [await reader.events(first, limit) for reader in self._readers]
        for rivals in zip(*answers, strict=False):
            for rival in rivals[1:]:
                if rival != rivals[0]:
                    await self.forget(rivals[0].item.sequence)
                    raise SourcesDisagree(f"event {rivals[0].item.sequence} in block {rivals[0].height}")
        return min(answers, key=len)

    async def block_hash(self, height: int) -> p.Bytes32 | None:
        """The hash that every source has at `height`, None if one of them has none.

        Raises:
            SourcesDisagree: Two sources have different blocks there.
            ChainUnavailable: A source does not answer.
        """
        answers = [await reader.block_hash(height) for reader in self._readers]
        known = {a for a in answers if a is not None}
        if len(known) > 1:
            raise SourcesDisagree(f"block {height}: {' and '.join(sorted(_shown(k) for k in known))}")
        return None if None in answers else known.pop()

    async def publication(self, identifier: p.PublicationId) -> PublicationView | None:
        """The record on which all sources agree. Raises `SourcesApart` while they do not."""
        return await self._same("publication", lambda reader: reader.publication(identifier))

    async def batch(self, home: Lane, root: p.Bytes32) -> BatchView | None:
        """The batch on which all sources agree. Raises `SourcesApart` while they do not."""
        return await self._same("batch", lambda reader: reader.batch(home, root))

    async def batch_ids(self, root: p.Bytes32) -> tuple[p.PublicationId, ...] | None:
        """The ids on which all sources agree. Raises `SourcesApart` while they do not."""
        return await self._same("ids of a batch", lambda reader: reader.batch_ids(root))

    async def state_in(self, identifier: p.PublicationId, proof: BatchProof) -> tuple[Role, State]:
        """The state on which all sources agree. Raises `SourcesApart` while they do not."""
        return await self._same("state of a publication", lambda reader: reader.state_in(identifier, proof))

    async def balance(self, account: p.Address) -> int:
        """The balance on which all sources agree. Raises `SourcesApart` while they do not."""
        return await self._same("balance", lambda reader: reader.balance(account))

    async def tokens(self, account: p.Address) -> int:
        """The tokens on which all sources agree. Raises `SourcesApart` while they do not."""
        return await self._same("tokens", lambda reader: reader.tokens(account))

    async def receipt_of(self, request: p.Bytes32) -> p.Bytes32 | None:
        """The receipt hash on which all sources agree. Raises `SourcesApart` while they do not."""
        return await self._same("receipt", lambda reader: reader.receipt_of(request))

    async def is_marked(self, source: Lane, generation: p.Generation, sequence: p.Sequence) -> bool:
        """The mark on which all sources agree. Raises `SourcesApart` while they do not."""
        return await self._same("mark", lambda reader: reader.is_marked(source, generation, sequence))

    async def validator_set(self) -> ValidatorSetView:
        """The set on which all sources agree. Raises `SourcesApart` while they do not."""
        return await self._same("validator set", lambda reader: reader.validator_set())

    async def brakes(self) -> BrakesView:
        """The brakes on which all sources agree. Raises `SourcesApart` while they do not."""
        return await self._same("brakes", lambda reader: reader.brakes())

    async def root(self) -> Lane:
        """The root on which all sources agree. Raises `SourcesApart` while they do not."""
        return await self._same("root", lambda reader: reader.root())

    async def governed(self, lane: Lane) -> GovernedLane:
        """The decision on which all sources agree. Raises `SourcesApart` while they do not."""
        return await self._same("governance", lambda reader: reader.governed(lane))

    async def forget(self, first: p.Sequence) -> None:
        """See `Forgetful.forget`: which of them was wrong is not known, all have to ask their nodes again."""
        for reader in self._readers:
            if isinstance(reader, Forgetful):
                await reader.forget(first)

    async def _same(self, what: str, ask: Callable[[ChainReader], Awaitable[T]]) -> T:
        answers = [await ask(reader) for reader in self._readers]
        if any(answer != answers[0] for answer in answers[1:]):
            raise SourcesApart(f"the sources' tips differ in the {what}")
        return answers[0]


def _shown(value: bytes | None) -> str:
    return "no block" if value is None else "0x" + value.hex()
