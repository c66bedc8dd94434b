"""From an empty folder, or any later state of it, to a devnet that works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import Final

from caimi.apps.devnet.errors import KuboMissing
from caimi.apps.devnet.faucet import fund_ethereum, fund_fabric
from caimi.apps.devnet.folder import VERSIONS, StateFolder, load_or_make_plan, read_plan
from caimi.apps.devnet.group_key import wait_for_group_key
from caimi.apps.devnet.keys import ACCOUNTS, make_keys
from caimi.apps.devnet.ledgers import CLIENT, Ledgers, prepare_ledgers
from caimi.apps.devnet.profiles import SHAPES, Choice
from caimi.apps.devnet.progress import Progress
from caimi.apps.devnet.services import content_processes, host_process, relay_process, validator_processes
from caimi.apps.devnet.supervisor_api import ChildReadiness, showing_children, write_targets
from caimi.apps.json_observer import JsonObserver
from caimi.crypto.quorum import ValidatorSet
from caimi.devnet.ethereum.block_journal import BlockJournal
from caimi.devnet.ethereum.state_keeper import StateKeeper
from caimi.devnet.fabric.network import CHANNEL, HOST
from caimi.devnet.supervisor import Supervisor
from caimi.devnet.toolchain import load_toolchain
from caimi.sdk.accounts import load_account, read_password
from caimi.sdk.client import Client
from caimi.sdk.network import (
    EthereumLane,
    FabricLane,
    FabricPeer,
    Network,
    ValidatorSite,
    network_to_json,
    read_network,
    write_json,
)
from caimi.types.primitives import Epoch, Generation

__all__ = ["FIRST_TOKENS", "running_devnet", "prepare"]

FIRST_TOKENS: Final = 1_000_000
"""What each demonstration account gets on each ledger."""
_LEDGERS_S: Final = 180.0
_SERVICES_S: Final = 180.0
_KEYS_S: Final = 120.0
_READY_S: Final = 30.0
_READY_POLL_S: Final = 0.3


def prepare(folder: StateFolder, progress: Progress, choice: Choice | None = None) -> Ledgers:
    """Everything that needs no process: ports, keys, key material, genesis.

    Raises:
        NoStateFolder, OtherFormat, MalformedFile: The folder is not this version's.
        OtherProfile: The folder's network was made in another way than `choice` asks for.
        KuboMissing: Kubo is asked for, and was not built.
        ToolchainError: The native programs are missing.
    """
    toolchain = load_toolchain()
    if toolchain.kubo is None and _wants_kubo(folder, choice):
        raise KuboMissing("Kubo is not among the native programs")
    plan = load_or_make_plan(folder, choice)
    progress.done("plan", f"ports and identifiers in {folder.plan}")
    keys = make_keys(folder, plan)
    progress.done("keys", f"{plan.n} validators, relay, host operator, {len(ACCOUNTS)} accounts")
    ledgers = prepare_ledgers(folder, plan, keys, toolchain)
    progress.done("genesis", f"network 0x{ledgers.network.hex()}")
    return ledgers


@asynccontextmanager
async def running_devnet(
    home: Path, progress: Progress, choice: Choice | None = None
) -> AsyncGenerator[tuple[Network, Supervisor]]:
    """Bring the devnet up under a supervisor in this process; on leaving, all its processes are stopped.

    Raises:
        AlreadySupervised: It runs already.
        CaimiError: It does not come up; what was done is kept.
    """
    folder = StateFolder.at(home)
    async with Supervisor(folder.root) as supervisor:
        progress.begin()
        ledgers = await asyncio.to_thread(prepare, folder, progress, choice)
        observer = JsonObserver.open("supervisor", folder.log("supervisor-steps"))
        anvil = ledgers.plan.anvil(folder)
        async with (
            StateKeeper(anvil).running(),
            BlockJournal(anvil).running(),
            showing_children(supervisor, observer, taken=ledgers.plan.ports) as readiness,
        ):
            network = await _start(ledgers, supervisor, progress)
            write_targets(folder.root, supervisor)
            await _wait_ready(readiness, progress)
            progress.ready()
            yield network, supervisor


async def _wait_ready(readiness: ChildReadiness, progress: Progress) -> None:
    # Whoever is not ready in time is told of by `caimi status`; a devnet that lacks something is one all the same.
    until = time.monotonic() + _READY_S
    while missing := await readiness.missing():
        if time.monotonic() > until:
            progress.done("ready", f"not everything: {missing[0]}")
            return
        await asyncio.sleep(_READY_POLL_S)
    progress.done("ready", "every process says that it can do its work")


async def _start(ledgers: Ledgers, supervisor: Supervisor, progress: Progress) -> Network:
    folder = ledgers.folder
    await supervisor.start(ledgers.processes(), timeout_s=_LEDGERS_S)
    shape = SHAPES[ledgers.plan.profile]
    fabric = f"{shape.orderers} Fabric orderer{'s' * (shape.orderers > 1)}, {shape.peers} Fabric peers"
    progress.done("ledgers", f"{fabric} and 1 Ethereum node run")
    await supervisor.start(content_processes(ledgers), timeout_s=_SERVICES_S)
    progress.done("content", "content store runs" + (" on Kubo" if ledgers.plan.storage == "kubo" else ""))
    await ledgers.bring_up_ethereum()
    progress.done("ethereum", f"eip155:{ledgers.plan.chain_id} registry 0x{ledgers.site.contract.hex()}")
    await ledgers.bring_up_fabric(lambda step, node: progress.note(f"{step.value}: {node}"))
    progress.done("fabric", f"{ledgers.fabric_caip2} chaincode {ledgers.fabric.plan.chaincode}")
    network = _describe(ledgers)
    write_json(folder.network, network_to_json(network))
    # None of them needs another one to start.
    services = (*validator_processes(ledgers), relay_process(ledgers), host_process(ledgers))
    await supervisor.start(services, timeout_s=_SERVICES_S)
    progress.done("services", f"{ledgers.plan.n} validators, {network.q} certify; relay; host, UNATTESTED")
    if network.group_key is None:
        network = network.with_group_key(await wait_for_group_key(network, timeout_s=_KEYS_S))
        write_json(folder.network, network_to_json(network))
        progress.done("keygen", f"{network.q} validators report one group key, {ledgers.plan.t} of its shares decrypt")
    await _fund_accounts(ledgers, network)
    progress.done("accounts", f"{', '.join(ACCOUNTS)} have test tokens on both ledgers")
    return network


def _wants_kubo(folder: StateFolder, choice: Choice | None) -> bool:
    # Asked before a plan is made that could not be followed.
    if folder.plan.is_file():
        return read_plan(folder).storage == "kubo"
    return choice is not None and choice.storage == "kubo"


async def _fund_accounts(ledgers: Ledgers, network: Network) -> None:
    password = read_password(ledgers.folder.password)
    async with Client(network) as client:
        for name in ACCOUNTS:
            account = load_account(ledgers.folder.account(name), password)
            if not await client.balance("fabric", account.address):
                await fund_fabric(ledgers, account, FIRST_TOKENS)
            if not await client.balance("ethereum", account.address):
                await fund_ethereum(ledgers, account, FIRST_TOKENS)


def _describe(ledgers: Ledgers) -> Network:
    plan, folder, genesis = ledgers.plan, ledgers.folder, ledgers.genesis
    known = read_network(folder.root) if folder.network.is_file() else None
    return Network(
        home=folder.root,
        id=ledgers.network,
        genesis=genesis,
        root="fabric",
        epoch=Epoch(1),
        q=ValidatorSet.from_genesis(genesis).q,
        group_key=known.group_key if known else None,
        lanes={"fabric": _fabric_lane(ledgers), "ethereum": _ethereum_lane(ledgers)},
        validators=tuple(
            ValidatorSite(index=place, address=address, url=f"http://{HOST}:{port}")
            for place, (address, port) in enumerate(zip(genesis.validators, plan.validator_ports, strict=True), start=1)
        ),
        relay_url=f"http://{HOST}:{plan.relay_port}",
        content_url=f"http://{HOST}:{plan.content_port}",
        host_url=f"http://{HOST}:{plan.host_port}",
        profile=plan.profile,
        storage=plan.storage,
        versions={"caimi": metadata.version("caimi"), **VERSIONS},
    )


def _fabric_lane(ledgers: Ledgers) -> FabricLane:
    network = ledgers.fabric
    peers: list[FabricPeer] = []
    for node in network.peers:
        files = node.client(CLIENT)
        peers.append(
            FabricPeer(
                name=node.name,
                endpoint=node.endpoint,
                tls_ca=node.tls_ca,
                msp_id=files.msp_id,
                certificate=files.certificate,
                key=files.key,
            )
        )
    return FabricLane(
        name="fabric",
        caip2=ledgers.fabric_caip2,
        lane=ledgers.fabric_lane,
        generation=Generation(1),
        clock_window_s=ledgers.plan.fabric_window_s,
        min_deposit=ledgers.plan.min_deposit,
        channel=CHANNEL,
        chaincode=network.plan.chaincode,
        genesis_hash=ledgers.genesis.root_genesis,
        token_issuer=ledgers.keys.deployer.address,
        peers=tuple(peers),
    )


def _ethereum_lane(ledgers: Ledgers) -> EthereumLane:
    plan = ledgers.plan
    return EthereumLane(
        name="ethereum",
        caip2=f"eip155:{plan.chain_id}",
        lane=ledgers.site.lane,
        generation=Generation(1),
        clock_window_s=plan.ethereum_window_s,
        min_deposit=plan.min_deposit,
        chain_id=plan.chain_id,
        contract=ledgers.site.contract,
        token=ledgers.token,
        first_block=ledgers.site.first_block,
        finality_depth=plan.finality_depth,
        block_time_ms=plan.block_time_ms,
        endpoints=(ledgers.ethereum_url,),
    )
