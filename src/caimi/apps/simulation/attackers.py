"""Who tries what must not succeed: forged and repeated certificates, keys of models that were never published."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from caimi.apps.simulation.publishers import Published, Publisher
from caimi.apps.simulation.validators import ValidatorSite
from caimi.apps.simulation.world import EPOCH, World
from caimi.host.identity import make_identity
from caimi.host.leases import LeaseDesk, LeaseTerms
from caimi.protocol.publication import State
from caimi.simulators.actors import SeededEntropy
from caimi.simulators.forger import Forger
from caimi.simulators.ledger import SimulatedBlock
from caimi.simulators.processes import ProcessDown
from caimi.types.errors import CaimiError
from caimi.wire.codec import encode
from caimi.wire.functions import decode_call

__all__ = ["forge", "repeat", "steal_keys"]


async def forge(world: World) -> None:
    """Sign with the keys of the bad validators what would split a publication, for ever."""
    forger = Forger(world.network, {i: world.validator_keys[i] for i in sorted(world.bad)}, rng=world.rng("forger"))
    ports = {name: world.port(name, "forger") for name in world.ledgers}
    while True:
        await asyncio.sleep(7.0)
        for name, state in world.registries().items():
            for refused in await forger.attack(ports[name], state, list(world.registries().values())):
                world.trace.note(f"forgery at {name}: {refused}")


async def repeat(world: World) -> None:
    """Bring registries again what they once accepted: true certificates, of lanes that may have been dropped since."""
    rng = world.rng("repeater")
    ports = {name: world.port(name, "repeater") for name in world.ledgers}
    while True:
        await asyncio.sleep(rng.uniform(10.0, 20.0))
        for name, ledger in world.ledgers.items():
            blocks = [block for block in (*ledger.blocks, *ledger.taken_back) if block.transactions]
            runs = [run for block in blocks for run in _accepted_runs(block)]
            if not runs:
                continue
            try:
                await ports[name].send(await ports[name].prepare(rng.choice(runs), slot=None))
            except CaimiError as error:
                world.trace.note(f"repetition at {name}: {type(error).__name__}")


def _accepted_runs(block: SimulatedBlock) -> Iterator[bytes]:
    for transaction, outcome in zip(block.transactions, block.outcomes, strict=True):
        if outcome.refusal is None and transaction.call:
            name, arguments = decode_call(transaction.call)
            calls = arguments[0] if name == "multicall" else (transaction.call,)
            yield from (call for call in calls if decode_call(call)[0] == "applyRun")


async def steal_keys(world: World, publisher: Publisher, validators: Sequence[ValidatorSite]) -> None:
    """As an authorised host, ask all validators for the keys of models that their homes did not commit."""
    entropy = SeededEntropy(f"{world.seed} thief")
    board = world.board_port("thief")
    while asyncio.get_running_loop().time() < world.plan.calm_at:
        await asyncio.sleep(20.0)
        identity = make_identity(
            world.operator, network=world.network, epoch=EPOCH, now=world.clock.now(), entropy=entropy
        )
        desk = LeaseDesk(
            identity,
            LeaseTerms(),
            board=board,
            lane=world.board.lane,
            clock=world.clock,
            entropy=entropy,
            observer=world.trace,
        )
        for published in publisher.published:
            if not _is_committed(world, published):
                await _steal(world, published, desk, validators)


def _is_committed(world: World, published: Published) -> bool:
    for state in world.registries().values():
        record = state.publications.get(published.id)
        if state.config.lane == published.record.home and record is not None:
            return record.state is State.COMMITTED
    return False


async def _steal(world: World, published: Published, desk: LeaseDesk, validators: Sequence[ValidatorSite]) -> None:
    if published.capsule is None:
        raise RuntimeError("in seeds with inference every publication has a capsule")
    try:
        lease = await desk.open(published.id, opening=published.id)
    except CaimiError as error:
        world.trace.note(f"thief gets no lease: {type(error).__name__}")
        return
    for validator in validators:
        try:
            await validator.release(lease.id, encode(published.record), published.capsule.to_bytes())
        except (CaimiError, ProcessDown) as error:
            world.trace.note(f"{validator.name} refuses the thief: {type(error).__name__}")
        else:
            world.trace.note(f"{validator.name} releases to the thief")
