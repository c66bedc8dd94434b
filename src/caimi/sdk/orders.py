"""Orders of validators' operators: what the next one is, who signs it, and handing it to its registry (spec 35)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from caimi.crypto.ecdsa import EcdsaSignature, recover
from caimi.ports.chain import BrakesView
from caimi.protocol.registry_state import GovernedLane
from caimi.sdk.connections import Connections
from caimi.sdk.errors import SdkError, TakesTooLong
from caimi.sdk.json_fields import hex_text
from caimi.sdk.network import ValidatorSite
from caimi.types.errors import Blame, CaimiError, LaneDropped, NotPaused, Retry, TooEarly, UnknownSigner, WrongSigner
from caimi.types.primitives import ZERO32, Bytes32, Generation, SignerIndex
from caimi.types.records import Governance, GovernanceAction, Pause, Resume, Signature
from caimi.wire.codec import decode, encode
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call

__all__ = ["NotEnoughSigned", "Order", "OrderDesk", "OrderRefused", "SignedOrder"]

T = TypeVar("T")
Order = Pause | Resume | Governance
_NAMES: Final[Mapping[type[Order], str]] = {Pause: "pause", Resume: "resume", Governance: "govern"}
_OVER: Final = ("done", "elsewhere")


class NotEnoughSigned(SdkError):
    """Fewer validators signed an order than it needs."""

    blame = Blame.VALIDATOR
    retry = Retry.AFTER
    hint = "see what each of them said; an order needs f+1 signatures for a pause and a quorum for everything else"


class OrderRefused(SdkError):
    """The registry refused an order that enough validators had signed."""

    retry = Retry.AFTER
    hint = "see `caimi brake status` and `caimi govern show`: another order may have come first"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOrder:
    """An order and who signed it."""

    order: Order
    signatures: tuple[Signature, ...]
    """Ascending by signer."""
    said: Mapping[int, str]
    """By the number of a validator (from 1) that did not sign: why."""

    @property
    def call(self) -> bytes:
        """What the registry is called with."""
        return encode_call(_NAMES[type(self.order)], self.order, self.signatures)


class OrderDesk:
    """Asks the validators whose operator's token is that of these connections."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._network = connections.network

    # --- how it is

    async def brakes(self, lane: str) -> BrakesView:
        """The brakes of a lane's registry.

        Raises:
            UnknownName: There is no such lane.
            ChainUnavailable: Its node does not answer.
        """
        return await self._connections.reader(lane).brakes()

    async def governed(self, lane: str) -> GovernedLane:
        """What the root registry decided last about a lane. Raises as `brakes`."""
        at = self._network.lane(lane).lane
        return await self._connections.reader(self._network.root).governed(at)

    # --- the next order

    async def next_pause(self, lane: str) -> Pause:
        """The order that pauses a registry now, also one that is paused: the delay begins anew. Raises as `brakes`."""
        brakes = await self.brakes(lane)
        return Pause(at=self._network.lane(lane).lane, epoch=self._network.epoch, counter=brakes.counter + 1)

    async def next_resume(self, lane: str) -> Resume:
        """The order that ends a pause.

        Raises:
            NotPaused, TooEarly: There is none, or it is too young by the registry's clock.
            UnknownName, ChainUnavailable: As `brakes`.
        """
        brakes = await self.brakes(lane)
        if not brakes.paused:
            raise NotPaused
        earliest, now = brakes.since + brakes.resume_delay, await self._connections.clock(lane)
        if now < earliest:
            raise TooEarly(earliest, now)
        return Resume(at=self._network.lane(lane).lane, epoch=self._network.epoch, counter=brakes.counter + 1)

    async def next_resumption(self, lane: str) -> Governance:
        """The decision that resumes a lane: it keeps what no validator that answers has to take back.

        Raises:
            LaneDropped: It was dropped for good.
            NotEnoughSigned: Fewer than a quorum say what they could keep.
            UnknownName, ChainUnavailable: As `brakes`.
        """
        before = await self._undropped(lane)
        height, block_hash = await self._kept_block(lane)
        generation = Generation(before.generation + 1)
        return self._decision(lane, before, GovernanceAction.RESUME_LANE, generation, height, block_hash)

    async def next_drop(self, lane: str) -> Governance:
        """The decision that drops a lane for good. Raises LaneDropped, UnknownName, ChainUnavailable."""
        before = await self._undropped(lane)
        return self._decision(lane, before, GovernanceAction.DROP_LANE, before.generation, 0, ZERO32)

    # --- signing and sending

    def needed(self, order: Order) -> int:
        """How many signatures it takes."""
        return self._network.genesis.f + 1 if isinstance(order, Pause) else self._network.q

    async def sign(self, order: Order) -> SignedOrder:
        """Have all validators sign an order whose operator this is.

        Raises:
            NotEnoughSigned: Too few do.
        """
        digest = typed_digest(self._network.id, order)
        body = {"kind": _NAMES[type(order)], "order": hex_text(encode(order))}

        async def ask(site: ValidatorSite) -> Signature:
            service = self._connections.service(site.url, name=f"validator {site.index}")
            signature = decode(Signature, (await service.post("/v1/orders", body)).data("signature"))
            if signature.signer != site.index - 1:
                raise UnknownSigner(signature.signer)
            actual = recover(digest, EcdsaSignature.from_record(signature))
            if actual != site.address:
                raise WrongSigner(site.address, actual)
            return signature

        answers = await asyncio.gather(*(_said(ask(site)) for site in self._network.validators))
        said = {
            site.index: f"{type(answer).__name__}: {answer}"
            for site, answer in zip(self._network.validators, answers, strict=True)
            if isinstance(answer, CaimiError)
        }
        signatures = tuple(answer for answer in answers if isinstance(answer, Signature))
        if len(signatures) < self.needed(order):
            raise NotEnoughSigned(f"{len(signatures)} of {self.needed(order)} signed; {_listed(said)}")
        return SignedOrder(
            order=order, signatures=tuple(sorted(signatures, key=lambda s: SignerIndex(s.signer))), said=said
        )

    async def send(self, signed: SignedOrder, *, seconds: float, tell: Callable[[str], None]) -> None:
        """Hand an order to its registry by the relay, and wait until it took effect there.

        Raises:
            OrderRefused: The registry does not take it.
            TakesTooLong: Not within `seconds`; it may still come.
            ServiceUnavailable: The relay does not answer.
        """
        at = signed.order.at
        relay = self._connections.relay
        body = {"chain": hex_text(at.chain), "registry": hex_text(at.registry), "call": hex_text(signed.call)}
        key = (await relay.post("/v1/calls", body)).text("key")
        name = self._network.lane_name(at)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    row = await relay.get(f"/v1/calls/{key}")
                    state = row.text("state")
                    if state in _OVER:
                        return
                    if state == "refused":
                        raise OrderRefused(f"{name}: {row.optional('refusal', row.text)}")
                    tell(f"{name}: the order is {state}")
                    await asyncio.sleep(0.5)
        except TimeoutError as error:
            raise TakesTooLong(f"{name} has not taken the order within {seconds:.0f} s") from error

    # --- parts

    async def _undropped(self, lane: str) -> GovernedLane:
        before = await self.governed(lane)
        if before.dropped:
            raise LaneDropped
        return before

    def _decision(
        self,
        lane: str,
        before: GovernedLane,
        action: GovernanceAction,
        generation: Generation,
        height: int,
        block_hash: Bytes32,
    ) -> Governance:
        return Governance(
            at=self._network.lane(self._network.root).lane,
            epoch=self._network.epoch,
            action=action,
            lane=self._network.lane(lane).lane,
            version=before.version + 1,
            generation=generation,
            height=height,
            block_hash=block_hash,
        )

    async def _kept_block(self, lane: str) -> tuple[int, Bytes32]:
        # The lowest of what validators could keep: whoever signed less has nothing against it.
        at = self._network.lane(lane).lane
        query = {"chain": hex_text(at.chain), "registry": hex_text(at.registry)}

        async def ask(site: ValidatorSite) -> tuple[int, Bytes32]:
            service = self._connections.service(site.url, name=f"validator {site.index}")
            answer = await service.get("/v1/kept-block", **query)
            return answer.number("height"), answer.bytes32("block_hash")

        sites = self._network.validators
        answers = await asyncio.gather(*(_said(ask(site)) for site in sites))
        said = {s.index: str(a) for s, a in zip(sites, answers, strict=True) if isinstance(a, CaimiError)}
        blocks = [answer for answer in answers if isinstance(answer, tuple)]
        if len(blocks) < self._network.q:
            raise NotEnoughSigned(f"{len(blocks)} of {self._network.q} say what they could keep; {_listed(said)}")
        return min(blocks)


async def _said(answer: Awaitable[T]) -> T | CaimiError:
    # What one validator answers, or the error that it answers with: one that is away keeps nobody from the others.
    try:
        return await answer
    except CaimiError as error:
        return error


def _listed(said: Mapping[int, str]) -> str:
    return "; ".join(f"validator {index}: {text}" for index, text in sorted(said.items()))
