"""Consumers who ask hosts themselves: sealed calls under a lease, repeated byte for byte until there is an answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from caimi.apps.simulation.consumers import Consumers
from caimi.apps.simulation.hosts import HostSite
from caimi.apps.simulation.publishers import Published
from caimi.apps.simulation.world import World, key
from caimi.crypto.direct_seal import DirectSession, begin_session, seal_direct_input
from caimi.crypto.inference_seal import Salted, input_commitment
from caimi.host.call_errors import AlreadyAnswered, Delayed, NotYetAnswered
from caimi.host.errors import NotForThisHost
from caimi.protocol.publication import State
from caimi.sdk.errors import ServiceUnavailable
from caimi.simulators.models import SimulatedModel, batch, values_of
from caimi.simulators.processes import ProcessDown
from caimi.types.errors import CaimiError
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import DirectRequest, HostKey
from caimi.wire.digests import typed_digest
from caimi.wire.direct_body import DirectCall

__all__ = ["DirectAsked", "DirectConsumers", "DirectOddity"]

_AGAIN: Final = 3


class DirectOddity(Enum):
    """What is odd about a direct call."""

    NONE = "none"
    WRONG_TENSOR = "wrong tensor"
    WRONG_COMMITMENT = "wrong commitment"
    OTHER_SIGNATURE = "other signature"
    USED_NONCE = "used nonce"
    """The nonce of the consumer's call before: another start of a host may take it."""
    TAKEN_BACK = "taken back"
    """Of a publication that is revoked, as long as a host serves it."""

    @property
    def is_answerable(self) -> bool:
        """Whether a host may answer it."""
        return self in (DirectOddity.NONE, DirectOddity.TAKEN_BACK, DirectOddity.USED_NONCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectAsked:
    """A direct call as its consumer knows it."""

    id: Bytes32
    call: DirectCall
    published: Published
    model: SimulatedModel
    host: HostSite
    host_key: HostKey
    operator_signature: bytes
    session: DirectSession
    input: Salted
    oddity: DirectOddity


class DirectConsumers:
    """Everybody who asks hosts without a ledger."""

    def __init__(self, world: World, consumers: Consumers, hosts: Sequence[HostSite]) -> None:
        self.asked: dict[Bytes32, DirectAsked] = {}
        self.wanting = world.plan.direct_jobs if world.has_inference else 0
        """How many answers are wanted that have not come yet."""
        self.refused: dict[str, int] = {}
        """How often which error was the answer."""
        self._world = world
        self._consumers = consumers
        self._hosts = hosts
        self._lines = {
            host.name: world.line(f"direct to {host.name}", ServiceUnavailable, patience_s=5.0) for host in hosts
        }

    async def run(self) -> None:
        """All jobs."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._world.plan.direct_jobs):
                tasks.create_task(self._job(number, self._world.rng(f"direct job {number}")))

    async def _job(self, number: int, rng: random.Random) -> None:
        await asyncio.sleep(rng.uniform(5.0, 0.8 * self._world.plan.calm_at))
        used: DirectAsked | None = None
        while True:
            # Some want more than one answer at a time.
            several = [DirectOddity.NONE] * rng.choice((1, 1, 2, 5))
            if rng.random() < 0.4:
                several[0] = rng.choice(list(DirectOddity))
            asked = [self._attempt(number, rng, oddity, used) for oddity in several]
            answers = await asyncio.gather(*asked)
            used = next((one for one, _ in answers if one is not None), used)
            if any(is_answered for _, is_answered in answers):
                self.wanting -= 1
                return
            await asyncio.sleep(rng.uniform(0.5, 3.0))

    async def _attempt(
        self, number: int, rng: random.Random, oddity: DirectOddity, used: DirectAsked | None
    ) -> tuple[DirectAsked | None, bool]:
        # Whether it is answered, being what its consumer wants.
        published = self._choose(rng, oddity)
        hosts = [h for h in self._hosts if published is not None and h.relay.has_capsule(published.id)]
        if published is None or published.model is None or not hosts:
            return None, False
        host = used.host if used is not None and oddity is DirectOddity.USED_NONCE else rng.choice(hosts)
        try:
            host_key, operator_signature = await host.key()
        except ProcessDown:
            return None, False
        asked = self._ask(number, rng, oddity, published, host, host_key, operator_signature, used)
        self.asked[asked.id] = asked
        is_answered = await self._pursue(rng, asked)
        return asked, is_answered and oddity is DirectOddity.NONE

    def _choose(self, rng: random.Random, oddity: DirectOddity) -> Published | None:
        if oddity is DirectOddity.TAKEN_BACK:
            revoked = [
                published
                for published, _ in self._consumers.known()
                if any(
                    published.id in state.publications and state.publications[published.id].state is State.REVOKED
                    for state in self._world.registries().values()
                )
            ]
            return rng.choice(revoked) if revoked else None
        committed = [published for published, _ in self._consumers.committed()]
        return rng.choice(committed) if committed else None

    def _ask(
        self,
        number: int,
        rng: random.Random,
        oddity: DirectOddity,
        published: Published,
        host: HostSite,
        host_key: HostKey,
        operator_signature: bytes,
        used: DirectAsked | None,
    ) -> DirectAsked:
        world, model = self._world, published.model
        if model is None:
            raise RuntimeError("in seeds with inference every publication has a model")
        session, sealed = begin_session(Bytes32(rng.randbytes(32)), host=host_key.sealing_key, network=world.network)
        salted = self._input(rng, oddity, model)
        account = key(f"direct consumer {number}")
        is_wrong = oddity is DirectOddity.WRONG_COMMITMENT
        commitment = Bytes32(rng.randbytes(32)) if is_wrong else input_commitment(salted)
        is_used = used is not None and oddity is DirectOddity.USED_NONCE
        request = DirectRequest(
            publication=published.id,
            consumer=account.address,
            host=host_key.signing_key,
            session=session.id,
            input_commitment=commitment,
            nonce=used.call.request.nonce if used is not None and is_used else Bytes32(rng.randbytes(32)),
            deadline=UnixSeconds(world.clock.now() + rng.choice((2, 20, 25, 30, 35))),
        )
        identifier = typed_digest(world.network, request)
        signer = key("somebody else") if oddity is DirectOddity.OTHER_SIGNATURE else account
        call = DirectCall(
            request=request,
            signature=signer.sign(identifier).to_bytes(),
            session=sealed,
            sealed_input=seal_direct_input(salted, session=session, request=identifier),
        )
        return DirectAsked(
            id=identifier,
            call=call,
            published=published,
            model=model,
            host=host,
            host_key=host_key,
            operator_signature=operator_signature,
            session=session,
            input=salted,
            oddity=oddity,
        )

    def _input(self, rng: random.Random, oddity: DirectOddity, model: SimulatedModel) -> Salted:
        width = 5 if oddity is DirectOddity.WRONG_TENSOR else 4
        salted = Salted(salt=Bytes32(rng.randbytes(32)), payload=batch(rng, width=width))
        self._world.wiretap.protect("an input", values_of(salted.payload))
        if oddity.is_answerable:
            self._world.wiretap.protect("an output", values_of(model.run(salted.payload)))
        return salted

    async def _pursue(self, rng: random.Random, asked: DirectAsked) -> bool:
        # The same bytes, also once more after the answer: it counts once.
        again = rng.randrange(_AGAIN)
        is_answered = False
        while self._world.clock.now() <= asked.call.request.deadline:
            answer = await self._exchange(asked)
            if isinstance(answer, bytes):
                if not again:
                    return True
                is_answered, again = True, again - 1
                await asyncio.sleep(rng.uniform(0.0, 4.0))
                continue
            self.refused[type(answer).__name__] = self.refused.get(type(answer).__name__, 0) + 1
            self._world.trace.note(f"direct: {type(answer).__name__}")
            match answer:
                case Delayed(seconds=seconds):
                    await asyncio.sleep(seconds)
                case ServiceUnavailable() | NotYetAnswered():
                    await asyncio.sleep(rng.uniform(0.2, 1.0))
                case NotForThisHost() | AlreadyAnswered() | CaimiError():
                    return is_answered
        return is_answered

    async def _exchange(self, asked: DirectAsked) -> bytes | CaimiError:
        publication = Bytes32(asked.published.id)
        try:
            return await self._lines[asked.host.name].ask(lambda: asked.host.infer_directly(publication, asked.call))
        except CaimiError as error:
            return error
