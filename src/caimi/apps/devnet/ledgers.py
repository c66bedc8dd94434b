"""Both ledgers of a devnet: their processes, their registries, and test tokens for the demonstration accounts.

Every step asks first whether it is done. On Ethereum the deployer's first two transactions create token and registry,
so their addresses are known beforehand, and a chain that lost its last second gets the same registry again.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import rlp

from caimi.apps.devnet.errors import RegistryMismatch
from caimi.apps.devnet.folder import DevnetPlan, StateFolder
from caimi.apps.devnet.keys import DevnetKeys
from caimi.chains.ethereum.artefacts import artefact_folder
from caimi.chains.ethereum.deployment import RegistryPlan, attach_epochs, deploy
from caimi.chains.ethereum.errors import RegistryMissing
from caimi.chains.ethereum.finality import DepthFinality
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.chains.ethereum.reader import EthereumReader, RegistrySite
from caimi.chains.fabric.blocks import genesis_block_hash
from caimi.chains.fabric.bringup import BringUpStep, ChannelPlan, bring_up
from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.deployment import RegistryPlan as ChaincodePlan
from caimi.chains.fabric.deployment import creation
from caimi.chains.fabric.errors import ChaincodeRefusal, FabricError
from caimi.chains.fabric.identity import load_identity
from caimi.chains.fabric.lifecycle import ChaincodeDefinition, PrivateCollection
from caimi.chains.fabric.registry import FabricRegistry
from caimi.devnet.ethereum.anvil import anvil_process, write_first_state
from caimi.devnet.ethereum.restore import restore
from caimi.devnet.fabric.generate import generate_network, load_network, network_exists
from caimi.devnet.fabric.network import CHANNEL, FabricBinaries, FabricNetwork
from caimi.devnet.fabric.processes import fabric_processes
from caimi.devnet.process import ProcessSpec
from caimi.devnet.toolchain import Toolchain
from caimi.protocol.registry_state import Limits
from caimi.types.errors import Retry
from caimi.types.primitives import Address, Bytes32
from caimi.types.records import Attestation, Genesis, Lane
from caimi.wire.chain_ids import chain_hash, fabric_chain_id, fabric_registry
from caimi.wire.digests import network_id
from caimi.wire.keccak import keccak256

__all__ = ["CLIENT", "Ledgers", "prepare_ledgers"]

CLIENT: Final = 2
"""Number of the ordinary Fabric identity that clients of the state folder use; processes use 1."""
_CHANNEL_S: Final = 300.0
_FINAL_S: Final = 120.0
_POLL_S: Final = 0.2
_WEI: Final = 10**24
_LIMITS: Final = Limits(resume_delay=10, withdrawal_cap=10**15, lease_cap=100_000)
"""So wide that nothing of a devnet reaches a cap; a pause can be seen and ended within a test."""
_TOKEN_NONCE, _REGISTRY_NONCE = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledgers:
    """What is known about both ledgers before any of their processes runs."""

    folder: StateFolder
    plan: DevnetPlan
    keys: DevnetKeys
    toolchain: Toolchain
    fabric: FabricNetwork
    genesis: Genesis

    @property
    def network(self) -> Bytes32:
        """The network id."""
        return network_id(self.genesis)

    @property
    def fabric_caip2(self) -> str:
        """Fabric's CAIP-2 id."""
        return fabric_chain_id(self.genesis.root_genesis)

    @property
    def fabric_lane(self) -> Lane:
        """The registry on Fabric."""
        registry = fabric_registry(CHANNEL, self.fabric.plan.chaincode)
        return Lane(chain=chain_hash(self.fabric_caip2), registry=registry)

    @property
    def token(self) -> Address:
        """The test token on Ethereum."""
        return _created(self.keys.deployer.address, _TOKEN_NONCE)

    @property
    def site(self) -> RegistrySite:
        """The registry on Ethereum."""
        return RegistrySite(
            chain_id=self.plan.chain_id,
            contract=_created(self.keys.deployer.address, _REGISTRY_NONCE),
            first_block=0,
            finality=DepthFinality(self.plan.finality_depth),
        )

    @property
    def ethereum_url(self) -> str:
        """The one node's address."""
        return self.plan.anvil(self.folder).url

    def processes(self) -> tuple[ProcessSpec, ...]:
        """The ledgers' processes."""
        binaries = FabricBinaries.in_folder(self.toolchain.fabric_bin)
        anvil = self.plan.anvil(self.folder)
        log, program = self.folder.log("ethereum"), self.toolchain.anvil
        return (
            *fabric_processes(self.fabric, binaries, logs=self.folder.logs),
            anvil_process(anvil, anvil=program, log=log, mend=lambda: restore(anvil, anvil=program, log=log)),
        )

    async def bring_up_fabric(self, tell: Callable[[BringUpStep, str], None] | None = None) -> None:
        """Channel, chaincode and registry, once the processes are healthy.

        Raises:
            LifecycleError: The channel does not come up.
            RegistryMismatch: The chaincode is another network's registry.
        """
        await bring_up(
            _channel_plan(self.fabric),
            orderers=self.fabric.orderers,
            peers=self.fabric.peers,
            progress=tell,
            timeout_s=_CHANNEL_S,
        )
        async with AsyncExitStack() as stack:
            gateway = await stack.enter_async_context(self.gateway(0))
            await self._create_registry(gateway)
            registry = FabricRegistry(gateway, lane=self.fabric_lane, chaincode=self.fabric.plan.chaincode)
            stack.push_async_callback(registry.close)
            self._check_network(await registry.verify_site(), "fabric")
        _created_marker(self.folder).touch()

    async def bring_up_ethereum(self) -> None:
        """Token and registry, once the process is healthy.

        Raises:
            DeploymentFailed: A transaction did not come through.
            RegistryMismatch: The contract is another network's registry.
        """
        async with RpcClient(self.ethereum_url, chain_id=self.plan.chain_id) as rpc:
            reader = EthereumReader(rpc, self.site)
            try:
                self._check_network(await reader.verify_site(), "ethereum")
                # What was stopped in between, or lost its last second, has no code of epochs.
                folder = artefact_folder()
                await attach_epochs(rpc, self.site.contract, deployer=self.keys.deployer, folder=folder)
                return
            except RegistryMissing:
                pass
            plan = RegistryPlan(
                genesis=self.genesis,
                min_deposit=self.plan.min_deposit,
                clock_window=self.plan.ethereum_window_s,
                limits=_LIMITS,
                root=self.fabric_lane,
            )
            code = await rpc.call("eth_getCode", "0x" + self.token.hex(), "latest")
            token = None if code == "0x" else self.token
            deployed = await deploy(rpc, plan, deployer=self.keys.deployer, folder=artefact_folder(), token=token)
            if (deployed.token, deployed.registry) != (self.token, self.site.contract):
                raise RegistryMismatch(f"the registry is at 0x{deployed.registry.hex()}, not where it was to be")
            await _until_final(reader, deployed.first_block)
            self._check_network(await reader.verify_site(), "ethereum")

    def gateway(self, peer: int) -> FabricGateway:
        """A client of one peer, places 0 to 3."""
        node = self.fabric.peers[peer]
        files = node.client(CLIENT)
        identity = load_identity(files.msp_id, files.certificate, files.key)
        return FabricGateway.connect(node.endpoint, node.tls_ca.read_bytes(), identity, CHANNEL)

    async def _create_registry(self, gateway: FabricGateway) -> None:
        plan = ChaincodePlan(
            genesis=self.genesis,
            min_deposit=self.plan.min_deposit,
            clock_window=self.plan.fabric_window_s,
            limits=_LIMITS,
            token_issuer=self.keys.deployer.address,
        )
        config = creation(plan, lane=self.fabric_lane, channel=CHANNEL, chaincode=self.fabric.plan.chaincode)
        until = time.monotonic() + _FINAL_S
        while True:
            try:
                await gateway.submit_transaction(self.fabric.plan.chaincode, "init", (config,))
                return
            except ChaincodeRefusal as refusal:
                if refusal.code == "AlreadyInitialised":
                    return
                raise
            except FabricError as error:
                # Whatever became of it: a registry is created once, so trying again is harmless.
                if error.retry is Retry.NEVER or time.monotonic() > until:
                    raise
            await asyncio.sleep(_POLL_S)

    def _check_network(self, found: Bytes32, lane: str) -> None:
        if found != self.network:
            raise RegistryMismatch(f"the registry on {lane} is of network 0x{found.hex()}")


def prepare_ledgers(folder: StateFolder, plan: DevnetPlan, keys: DevnetKeys, toolchain: Toolchain) -> Ledgers:
    """Make what lasts (once): Fabric's key material and genesis block, Ethereum's block 0, the genesis descriptor.

    Raises:
        FabricDevnetError: The files of the Fabric network cannot be made or read.
    """
    root = folder.root / "fabric"
    if network_exists(root):
        fabric = load_network(root)
        if not _created_marker(folder).is_file():
            # A peer that is stopped during its very first start leaves databases that it will never open again. Nothing
            # is on this channel yet that could be missed: it begins again from the same genesis block.
            shutil.rmtree(root / "data", ignore_errors=True)
    else:
        binaries = FabricBinaries.in_folder(toolchain.fabric_bin)
        fabric = generate_network(root, plan.fabric(), binaries=binaries, chaincode=toolchain.chaincode)
    anvil = plan.anvil(folder)
    if not anvil.folder.is_dir():
        # Written aside: a bring-up killed here must not leave half a state, which would be another chain.
        fresh = replace(anvil, folder=anvil.folder.with_name("ethereum.new"))
        shutil.rmtree(fresh.folder, ignore_errors=True)
        payers = (keys.relay_sender, keys.deployer.address)
        write_first_state(fresh, balances=dict.fromkeys(payers, _WEI), time=plan.created)
        fresh.folder.rename(anvil.folder)
    genesis = Genesis(
        root_genesis=Bytes32(genesis_block_hash(fabric.genesis_block.read_bytes())),
        validators=keys.validators,
        f=plan.f,
        t=plan.t,
        operators=(keys.operator,),
        attestation=Attestation.NONE,
        nonce=plan.nonce,
    )
    return Ledgers(folder=folder, plan=plan, keys=keys, toolchain=toolchain, fabric=fabric, genesis=genesis)


def _created_marker(folder: StateFolder) -> Path:
    # There once the registry on Fabric exists.
    return folder.root / "fabric" / "registry-created"


def _created(deployer: Address, nonce: int) -> Address:
    # Address of the contract that the deployer's transaction `nonce` creates.
    return Address(keccak256(cast(bytes, cast(Any, rlp).encode([bytes(deployer), nonce])))[12:])


async def _until_final(reader: EthereumReader, height: int) -> None:
    async with asyncio.timeout(_FINAL_S):
        while True:
            if (await reader.head()).final_height >= height:
                return
            await asyncio.sleep(_POLL_S)


def _channel_plan(network: FabricNetwork) -> ChannelPlan:
    made = network.plan.collection
    partials = PrivateCollection(
        name=made.name,
        members=network.organisations,
        block_to_live=made.block_to_live,
        required_peers=made.required_peers,
        maximum_peers=made.maximum_peers,
    )
    definition = ChaincodeDefinition(
        name=network.plan.chaincode,
        version=network.plan.chaincode_version,
        sequence=1,
        organisations=network.organisations,
        endorsements=network.plan.endorsements,
        collections=(partials,),
    )
    return ChannelPlan(
        channel=CHANNEL,
        genesis_block=network.genesis_block.read_bytes(),
        package=network.package.read_bytes(),
        package_id=network.package_id,
        definition=definition,
        probe=("version",),
    )
