"""From running processes to a channel that executes the chaincode.

Every step first asks whether it is done, so a bring-up that was killed anywhere can be run again and ends in
the same state; on a warm restart it only asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from caimi.chains.fabric.errors import FabricError, LifecycleError, LifecycleTimeout
from caimi.chains.fabric.lifecycle import ChaincodeDefinition, PeerAdmin, PeerSite
from caimi.chains.fabric.participation import OrdererSite, is_joined, join_orderer

__all__ = ["BringUpStep", "ChannelPlan", "bring_up"]

_FIRST_PAUSE_S: Final = 0.05
_LAST_PAUSE_S: Final = 0.5


class BringUpStep(Enum):
    """The steps in order; each is reported once for every node that it concerns."""

    ORDERER_JOINED = "orderer joined"
    PEER_JOINED = "peer joined"
    INSTALLED = "chaincode installed"
    APPROVED = "chaincode approved"
    COMMITTED = "chaincode committed"
    READY = "chaincode ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPlan:
    """The channel that is wanted."""

    channel: str
    genesis_block: bytes
    package: bytes
    """Chaincode package as installed at every peer."""
    package_id: str
    """`label:sha256` of the package."""
    definition: ChaincodeDefinition
    probe: tuple[str, ...]
    """Function and arguments of a call; any answer of the chaincode, a refusal too, shows that it runs."""


async def bring_up(
    plan: ChannelPlan,
    *,
    orderers: Sequence[OrdererSite],
    peers: Sequence[PeerSite],
    progress: Callable[[BringUpStep, str], None] | None = None,
    timeout_s: float = 120.0,
) -> None:
    """Join all nodes, install, approve and commit the chaincode, wait until every peer's Gateway can use it.

    Args:
        progress: Told each step and the node or organisation that finished it.
        timeout_s: For the whole bring-up.

    Raises:
        LifecycleError: The channel has another definition of the chaincode.
        LifecycleTimeout: Some step did not succeed in time; its last error is the cause.
        FabricIdentityError: A file of an administrator is missing or unusable.
    """
    told = progress or _silent
    admins = [PeerAdmin.connect(site, plan.channel) for site in peers]
    try:
        run = _Run(plan=plan, progress=told, deadline=asyncio.get_running_loop().time() + timeout_s)
        await _all(
            [*(run.join_orderer(orderer) for orderer in orderers), *(run.prepare_peer(admin) for admin in admins)]
        )
        await _all([run.approve(admin) for admin in admins])
        await run.commit(admins[0])
        await _all([run.probe(admin) for admin in admins])
    finally:
        for admin in admins:
            await admin.close()


def _silent(step: BringUpStep, node: str) -> None:
    del step, node


async def _all(calls: Sequence[Awaitable[None]]) -> None:
    # A task group would wrap the first error in a group; callers want the error itself.
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    plan: ChannelPlan
    progress: Callable[[BringUpStep, str], None]
    deadline: float

    async def join_orderer(self, orderer: OrdererSite) -> None:
        await self._converge(
            BringUpStep.ORDERER_JOINED,
            orderer.name,
            lambda: is_joined(orderer, self.plan.channel),
            lambda: join_orderer(orderer, self.plan.genesis_block),
        )

    async def prepare_peer(self, admin: PeerAdmin) -> None:
        await self._converge(
            BringUpStep.PEER_JOINED, admin.msp_id, admin.has_joined, lambda: admin.join(self.plan.genesis_block)
        )
        await self._converge(
            BringUpStep.INSTALLED,
            admin.msp_id,
            lambda: admin.has_installed(self.plan.package_id),
            lambda: admin.install(self.plan.package),
        )

    async def approve(self, admin: PeerAdmin) -> None:
        definition, package_id = self.plan.definition, self.plan.package_id

        async def is_done() -> bool:
            # Raises if the channel has another definition, which no approval could mend.
            await admin.has_committed(definition)
            return await admin.has_approved(definition, package_id)

        await self._converge(BringUpStep.APPROVED, admin.msp_id, is_done, lambda: admin.approve(definition, package_id))

    async def commit(self, admin: PeerAdmin) -> None:
        definition = self.plan.definition
        await self._converge(
            BringUpStep.COMMITTED,
            admin.msp_id,
            lambda: admin.has_committed(definition),
            lambda: admin.commit(definition),
        )

    async def probe(self, admin: PeerAdmin) -> None:
        await self._converge(
            BringUpStep.READY, admin.msp_id, _never, lambda: admin.probe(self.plan.definition, self.plan.probe)
        )

    async def _converge(
        self,
        step: BringUpStep,
        node: str,
        is_done: Callable[[], Awaitable[bool]],
        act: Callable[[], Awaitable[None]],
    ) -> None:
        # An act that failed may have worked after all (its answer was lost, or another run did it), hence ask again.
        loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE_S
        while True:
            try:
                if not await is_done():
                    await act()
                self.progress(step, node)
                return
            except LifecycleError:
                raise
            except FabricError as error:
                if loop.time() + pause > self.deadline:
                    raise LifecycleTimeout(f"{step.value} at {node}: {error}") from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_S)


async def _never() -> bool:
    return False
