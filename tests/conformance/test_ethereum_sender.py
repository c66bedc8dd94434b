"""The relay's sender on a real Anvil: prices that jump, pools that forget, chains that go back, foreign hands."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass

import pytest

from caimi.chains.ethereum.fees import FeePolicy
from caimi.chains.ethereum.fields import hex_data, hex_quantity
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.chains.ethereum.registry import EthereumRegistry
from caimi.ports.call_errors import SenderUnfunded
from caimi.ports.chain import Included, PreparedCall
from caimi.ports.crash import NoCrash
from caimi.ports.relay_store import AddCall, CallRow, CallState, Purpose, RelayStep, TransactionState
from caimi.relay.backoff import Backoff, Pauses
from caimi.relay.calls import new_call
from caimi.relay.lanes import RelayLane
from caimi.relay.sender import Sender
from caimi.storage.sqlite_relay import SqliteRelayStore
from caimi.types.primitives import Generation
from tests.conformance.anvil_node import AnvilNode, running_anvil
from tests.conformance.chain_world import HOUR, World, all_events
from tests.conformance.scenario import Signer, key
from tests.conformance.test_ethereum_chain import DEPLOYER, RIVAL, SENDER, ethereum_world
from tests.unit.relay.world import Counter, Recorder, StepClock

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(120)]
GWEI = 10**9
_PATIENCE = 60


@pytest.fixture
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Generator[AnvilNode]:
    """An Anvil of its own for each test."""
    with running_anvil(tmp_path_factory.mktemp("anvil"), (DEPLOYER, SENDER, RIVAL)) as node:
        yield node


@dataclass(slots=True, kw_only=True)
class _Desk:
    # A sender with its store. Blocks and seconds come when a test says so.
    world: World
    anvil: AnvilNode
    port: EthereumRegistry
    store: SqliteRelayStore
    clock: StepClock
    sender: Sender
    publisher: Signer

    @property
    def rpc(self) -> RpcClient:
        return self.port.rpc

    async def queue(self, tag: str) -> str:
        # A withdrawal: whether it was done cannot be seen from outside, and the registry takes it once.
        deadline = await self.world.now() + HOUR
        call = self.publisher.withdraw(
            self.publisher.withdrawal(at=self.world.lane, amount=10, deadline=deadline, tag=tag)
        )
        row = new_call(tag, self.world.lane, call, purpose=Purpose.OTHER, subjects=(), now=self.clock.now())
        self.store.write(RelayStep.ACCEPTED, AddCall(row=row))
        return tag

    def row(self, tag: str) -> CallRow:
        row = self.store.call(tag)
        assert row is not None
        return row

    def transactions(self) -> list[tuple[int | None, TransactionState]]:
        rows = self.store.transactions(self.world.lane, list(TransactionState))
        return [(row.slot, row.state) for row in rows]

    async def second(self) -> None:
        self.clock.advance(1)
        await self.rpc.call("evm_mine")
        await self.sender.turn()

    async def until_done(self, tag: str) -> None:
        for _ in range(_PATIENCE):
            if self.row(tag).state is CallState.DONE:
                assert self.row(tag).attempts == 0
                return
            await self.second()
        raise AssertionError(f"{self.row(tag).state} {self.transactions()} {self.sender.hint}")

    async def withdrawn(self) -> int:
        return await self.port.tokens(self.publisher.address)


def _play(
    anvil: AnvilNode, scene: Callable[[_Desk], Awaitable[None]], *, fees: FeePolicy | None = None, who: str = "sender"
) -> None:
    async def act() -> None:
        async with ethereum_world(anvil, "sender") as world:
            assert isinstance(world.port, EthereumRegistry)
            publisher = await world.publisher()
            port = EthereumRegistry(world.port.rpc, world.port.site, sender=key(who), fees=fees)
            store, clock = SqliteRelayStore(":memory:", crash=NoCrash()), StepClock()
            sender = Sender(
                RelayLane(name="ethereum", port=port, generation=Generation(1)),
                network=world.network,
                store=store,
                clock=clock,
                observer=Recorder(),
                pauses=Pauses(Backoff(first=0.5, longest=2.0), clock=clock, entropy=Counter("pauses")),
                resend_seconds=3.0,
                replace_seconds=6.0,
            )
            try:
                await scene(
                    _Desk(
                        world=world,
                        anvil=anvil,
                        port=port,
                        store=store,
                        clock=clock,
                        sender=sender,
                        publisher=publisher,
                    )
                )
            finally:
                store.close()

    asyncio.run(act())


def test_base_fee_a_hundred_times_higher_is_paid(anvil: AnvilNode) -> None:
    async def scene(desk: _Desk) -> None:
        before = await desk.withdrawn()
        one, two = await desk.queue("one"), await desk.queue("two")
        await desk.sender.turn()
        await desk.rpc.call("anvil_setNextBlockBaseFeePerGas", hex_quantity(100 * GWEI))
        await desk.until_done(one)
        await desk.until_done(two)
        assert {state for _, state in desk.transactions()} <= {TransactionState.DONE, TransactionState.LOST}
        assert len(desk.transactions()) == 2, "outbid once: the new price is of the new base fee"
        assert await desk.withdrawn() == before + 20

    _play(anvil, scene)


def test_base_fee_above_the_bound_is_waited_for(anvil: AnvilNode) -> None:
    async def scene(desk: _Desk) -> None:
        one = await desk.queue("one")
        await desk.sender.turn()
        for _ in range(10):
            await desk.rpc.call("anvil_setNextBlockBaseFeePerGas", hex_quantity(100 * GWEI))
            await desk.second()
        assert desk.row(one).state is CallState.BOUND
        assert "FeeBoundReached" in desk.sender.hint
        assert f"at most {20 * GWEI} are paid" in desk.sender.hint
        await desk.rpc.call("anvil_setNextBlockBaseFeePerGas", hex_quantity(GWEI))
        await desk.until_done(one)
        assert desk.sender.hint == ""

    _play(anvil, scene, fees=FeePolicy(most=20 * GWEI))


def test_dropped_transactions_are_sent_again(anvil: AnvilNode) -> None:
    async def scene(desk: _Desk) -> None:
        tags: list[str] = []
        for number in range(3):
            tags.append(await desk.queue(f"{number}"))
            await desk.sender.turn()
        first = desk.store.transactions(desk.world.lane, list(TransactionState))[0]
        await desk.rpc.call("anvil_dropTransaction", first.transaction)
        for tag in tags:
            await desk.until_done(tag)
        assert {state for _, state in desk.transactions()} == {TransactionState.DONE}

    _play(anvil, scene)


def test_node_that_forgot_its_pool_gets_everything_again(anvil: AnvilNode) -> None:
    async def scene(desk: _Desk) -> None:
        await desk.second()
        await asyncio.sleep(1.5)  # Anvil writes its state once a second.
        tags: list[str] = []
        for number in range(3):
            tags.append(await desk.queue(f"{number}"))
            await desk.sender.turn()
        desk.anvil.kill()
        desk.anvil.start()
        await desk.anvil.ready(desk.rpc)
        await desk.rpc.call("evm_setAutomine", False)
        for tag in tags:
            await desk.until_done(tag)
        assert [state for _, state in desk.transactions()] == [TransactionState.DONE] * 3

    _play(anvil, scene)


def test_chain_that_went_back_beyond_its_depth_does_not_block_the_account(anvil: AnvilNode) -> None:
    async def scene(desk: _Desk) -> None:
        await desk.second()
        await asyncio.sleep(1.5)
        older = desk.anvil.plan.folder / "older.json"
        shutil.copy(desk.anvil.plan.state, older)
        for tag in ("gone-0", "gone-1"):
            await desk.until_done(await desk.queue(tag))
        waits = await desk.queue("waits")
        await desk.sender.turn()
        desk.anvil.kill()
        shutil.copy(older, desk.anvil.plan.state)
        desk.anvil.start()
        await desk.anvil.ready(desk.rpc)
        await desk.rpc.call("evm_setAutomine", False)
        await desk.until_done(waits)
        # Two slots that nothing of ours uses any more are filled, for the one that waited behind them.
        slots = [slot for slot, _ in desk.transactions()]
        assert slots[:2] == slots[3:]
        assert slots[2] not in slots[:2]

    _play(anvil, scene)


def test_foreign_transaction_of_the_same_key_costs_a_slot_and_nothing_else(anvil: AnvilNode) -> None:
    async def scene(desk: _Desk) -> None:
        before = await desk.withdrawn()
        foreign = await desk.port.fill(await desk.port.next_slot() or 0)
        one = await desk.queue("one")
        await desk.sender.turn()
        (ours,) = desk.store.transactions(desk.world.lane, list(TransactionState))
        assert ours.slot == foreign.slot
        await desk.rpc.call("anvil_dropTransaction", ours.transaction)
        assert isinstance(await desk.world.settle(desk.port, foreign), Included)
        await desk.until_done(one)
        assert [state for _, state in desk.transactions()] == [TransactionState.LOST, TransactionState.DONE]
        assert await desk.withdrawn() == before + 10

    _play(anvil, scene)


def test_replaced_transaction_that_is_included_after_all_counts(anvil: AnvilNode) -> None:
    async def scene(desk: _Desk) -> None:
        before, first = await desk.withdrawn(), len(await all_events(desk.port)) + 1
        one = await desk.queue("one")
        await desk.sender.turn()
        desk.clock.advance(6)
        await desk.sender.turn()
        old, new = desk.store.transactions(desk.world.lane, list(TransactionState))
        await desk.rpc.call("anvil_dropTransaction", new.transaction)
        await desk.port.send(PreparedCall(transaction=old.transaction, raw=old.raw, slot=old.slot))
        await desk.until_done(one)
        assert desk.row(one).transaction == old.transaction
        for _ in range(3):
            await desk.second()
        assert [state for _, state in desk.transactions()] == [TransactionState.DONE, TransactionState.LOST]
        assert (await desk.withdrawn(), len(await all_events(desk.port, first))) == (before + 10, 0)

    _play(anvil, scene)


def test_sender_without_money_is_named_and_goes_on_when_it_has_some(anvil: AnvilNode) -> None:
    async def scene(desk: _Desk) -> None:
        account = hex_data(key("poor").address)
        one = await desk.queue("one")
        with pytest.raises(SenderUnfunded, match=f"{account} has 0 wei and needs [0-9]+: [0-9]+ wei are missing"):
            await desk.sender.turn()
        assert account in desk.sender.hint
        await desk.rpc.call("anvil_setBalance", account, hex_quantity(10**18))
        await desk.until_done(one)

    _play(anvil, scene, who="poor")
