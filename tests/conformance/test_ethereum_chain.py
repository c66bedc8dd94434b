"""The Ethereum adapter on a real Anvil with the real contracts, under the suite of all chain ports."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from caimi.chains.ethereum.artefacts import artefact_folder
from caimi.chains.ethereum.deployment import Deployment, RegistryPlan, deploy, mint_tokens
from caimi.chains.ethereum.finality import DepthFinality
from caimi.chains.ethereum.jsonrpc import RpcClient, RpcLimits
from caimi.chains.ethereum.permit import PermitToken, permit_nonce, sign_funding
from caimi.chains.ethereum.reader import EthereumReader, RegistrySite
from caimi.chains.ethereum.registry import EthereumRegistry
from caimi.protocol.registry_state import Limits
from caimi.types.primitives import UnixSeconds
from caimi.wire.digests import network_id
from tests.conformance.anvil_node import AnvilNode, running_anvil
from tests.conformance.chain_contract import SlottedChainContract
from tests.conformance.chain_world import HOUR, World
from tests.conformance.scenario import CLOCK_WINDOW, ELSEWHERE, MIN_DEPOSIT, Signer, genesis, key, word

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(120)]

_GENESIS = genesis(word("ethereum"))
_PLAN = RegistryPlan(
    genesis=_GENESIS, min_deposit=MIN_DEPOSIT, clock_window=CLOCK_WINDOW, limits=Limits(), root=ELSEWHERE
)
DEPLOYER, SENDER, RIVAL = key("deployer"), key("sender"), key("rival")


@pytest.fixture(scope="module")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnvilNode]:
    """One Anvil for all tests; each deploys a registry of its own."""
    with running_anvil(tmp_path_factory.mktemp("anvil"), (DEPLOYER, SENDER, RIVAL)) as node:
        yield node


@asynccontextmanager
async def ethereum_world(anvil: AnvilNode, label: str, depth: int = 1) -> AsyncGenerator[World]:
    """A fresh registry on a running Anvil, which then makes blocks only on demand."""
    chain_id, url = anvil.plan.chain_id, anvil.plan.url
    async with AsyncExitStack() as stack:

        async def client(chain: int = chain_id, at: str = url) -> RpcClient:
            return await stack.enter_async_context(RpcClient(at, chain_id=chain, limits=RpcLimits(seconds=5)))

        rpc = await client()
        await anvil.ready(rpc)
        made = await deploy(rpc, _PLAN, deployer=DEPLOYER, folder=artefact_folder())
        site = RegistrySite(
            chain_id=chain_id, contract=made.registry, first_block=made.first_block, finality=DepthFinality(depth)
        )
        other = RegistrySite(chain_id=1, contract=made.registry, first_block=0, finality=DepthFinality(depth))
        readers = await client()

        async def advance() -> None:
            await rpc.call("evm_mine")

        port = EthereumRegistry(rpc, site, sender=SENDER)
        world = World(
            label=label,
            network=network_id(_GENESIS),
            port=port,
            rival=EthereumRegistry(await client(), site, sender=RIVAL),
            reader=lambda: EthereumReader(readers, site),
            unreachable=EthereumRegistry(await client(at="http://127.0.0.1:1"), site, sender=SENDER),
            foreign=EthereumRegistry(await client(chain=1), other, sender=SENDER),
            advance=advance,
            endow=lambda account, amount: _endow(world, rpc, made, account, amount),
            root=_PLAN.root,
        )
        await rpc.call("evm_setAutomine", False)
        yield world


async def _endow(world: World, rpc: RpcClient, made: Deployment, account: Signer, amount: int) -> None:
    await rpc.call("evm_setAutomine", True)
    await mint_tokens(rpc, issuer=DEPLOYER, token=made.token, account=account.address, amount=amount)
    await rpc.call("evm_setAutomine", False)
    call = sign_funding(
        PermitToken(chain_id=rpc.chain_id, contract=made.token),
        account.key,
        registry=made.registry,
        amount=amount,
        nonce=await permit_nonce(rpc, made.token, account.address),
        deadline=UnixSeconds(await world.now() + HOUR),
    )
    await world.do(call)


class TestEthereum(SlottedChainContract):
    """Every test of the suite."""

    @pytest.fixture(autouse=True)
    def _node(self, anvil: AnvilNode) -> None:
        self.anvil = anvil

    @asynccontextmanager
    async def open_world(self, label: str) -> AsyncGenerator[World]:
        """A registry of its own for each test."""
        async with ethereum_world(self.anvil, label) as world:
            yield world
