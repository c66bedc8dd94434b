"""CAIMI's own processes of a devnet: their configuration files and command lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from caimi.apps.contentd import ContentConfig
from caimi.apps.devnet.folder import StateFolder
from caimi.apps.devnet.keys import OPERATOR, RELAY_SENDER, key_file, validator_name
from caimi.apps.devnet.ledgers import CLIENT, Ledgers
from caimi.apps.host_config import HostConfig
from caimi.apps.process_config import (
    DepthRule,
    EthereumLane,
    FabricLane,
    FabricMember,
    FabricPeer,
    GenesisConfig,
    HttpConfig,
    KeyFile,
    LaneConfig,
    NetworkConfig,
    RelayConfig,
    TuningConfig,
    ValidatorConfig,
    ValidatorEndpoint,
    VaultFile,
)
from caimi.apps.strict_json import to_json
from caimi.crypto.keystore import MIN_COST
from caimi.devnet.fabric.network import CHANNEL, HOST
from caimi.devnet.kubo import kubo_process, prepare_kubo
from caimi.devnet.process import ProcessSpec
from caimi.sdk.network import write_json

__all__ = ["ONE_NODE", "content_processes", "host_process", "relay_process", "validator_processes"]

ONE_NODE: Final = "one Ethereum node: both endpoints lead to it"
"""Said wherever the devnet's Ethereum is shown: several endpoints of one node prove nothing."""


def content_processes(ledgers: Ledgers) -> tuple[ProcessSpec, ...]:
    """The content store, and Kubo if that keeps the blocks.

    Raises:
        KuboUnusable: Kubo's repository cannot be made.
    """
    folder, name = ledgers.folder, "content"
    kubo, program = ledgers.plan.kubo(folder), ledgers.toolchain.kubo
    config = ContentConfig(
        process="content",
        name=name,
        http=HttpConfig(port=ledgers.plan.content_port),
        folder=folder.root / "content",
        token_file=folder.token,
        log=folder.log(name),
        kubo=None if kubo is None else kubo.url,
    )
    content = _process(folder, name, "contentd", config, config.http)
    if kubo is None or program is None:
        return (content,)
    prepare_kubo(kubo, program=program)
    return (kubo_process(kubo, program=program, log=folder.log("kubo")), content)


def validator_processes(ledgers: Ledgers) -> tuple[ProcessSpec, ...]:
    """The validators; each has its own peer, keys and store, and reads Ethereum through two endpoints."""
    return tuple(_validator(ledgers, index) for index in range(1, ledgers.plan.n + 1))


def relay_process(ledgers: Ledgers) -> ProcessSpec:
    """The relay."""
    folder, name = ledgers.folder, "relay"
    config = RelayConfig(
        process="relay",
        name=name,
        network=_network(ledgers),
        lanes=_lanes(
            ledgers, peers=range(len(ledgers.fabric.peers)), member=(0, CLIENT), sender=key_file(folder, RELAY_SENDER)
        ),
        http=HttpConfig(port=ledgers.plan.relay_port),
        store=folder.process(name) / "store.sqlite",
        token_file=folder.token,
        validators=_endpoints(ledgers),
        log=folder.log(name),
        # Blocks come each second here, and the node forgets its pool at every restart.
        tuning=TuningConfig(resend_seconds=3.0, replace_seconds=6.0),
        devnet=True,
    )
    return _process(folder, name, "relayd", config, config.http)


def host_process(ledgers: Ledgers) -> ProcessSpec:
    """The host. It signs the keys of each of its starts with the operator's key."""
    folder, plan, name = ledgers.folder, ledgers.plan, "host"
    config = HostConfig(
        process="host",
        name=name,
        network=_network(ledgers),
        lanes=_lanes(ledgers, peers=(1,), member=(1, CLIENT), sender=None),
        board="fabric",
        http=HttpConfig(port=plan.host_port),
        store=folder.process(name) / "store.sqlite",
        token_file=folder.token,
        operator=key_file(folder, OPERATOR),
        relay=f"http://{HOST}:{plan.relay_port}",
        content=f"http://{HOST}:{plan.content_port}",
        validators=_endpoints(ledgers),
        log=folder.log(name),
        devnet=True,
    )
    return _process(folder, name, "hostd", config, config.http)


def _endpoints(ledgers: Ledgers) -> tuple[ValidatorEndpoint, ...]:
    return tuple(
        ValidatorEndpoint(signer=place, url=f"http://{HOST}:{port}")
        for place, port in enumerate(ledgers.plan.validator_ports)
    )


def _validator(ledgers: Ledgers, index: int) -> ProcessSpec:
    folder, name = ledgers.folder, validator_name(index)
    peer = (index - 1) % len(ledgers.fabric.peers)
    config = ValidatorConfig(
        process="validator",
        name=name,
        network=_network(ledgers),
        lanes=_lanes(ledgers, peers=(peer,), member=(peer, 1), sender=None),
        http=HttpConfig(port=ledgers.plan.validator_ports[index - 1]),
        store=folder.process(name) / "store.sqlite",
        key=key_file(folder, name),
        # The password is random: the cost of guessing it does not rest on scrypt.
        vault=VaultFile(
            file=folder.process(name) / "vault.sqlite",
            password_file=folder.password,
            purpose=f"{name}/vault",
            cost=MIN_COST,
        ),
        board="fabric",
        token_file=folder.token,
        log=folder.log(name),
        devnet=True,
    )
    return _process(folder, name, "validatord", config, config.http)


def _network(ledgers: Ledgers) -> NetworkConfig:
    genesis = ledgers.genesis
    return NetworkConfig(
        id=ledgers.network,
        genesis=GenesisConfig(
            root_genesis=genesis.root_genesis,
            validators=genesis.validators,
            f=genesis.f,
            t=genesis.t,
            operators=genesis.operators,
            attestation=genesis.attestation,
            nonce=genesis.nonce,
        ),
    )


def _lanes(
    ledgers: Ledgers, *, peers: Sequence[int], member: tuple[int, int], sender: KeyFile | None
) -> tuple[LaneConfig, ...]:
    # `peers` are asked in that order; `member` is the peer's organisation and the number of its identity.
    nodes, fabric = ledgers.fabric.peers, ledgers.fabric
    files = nodes[member[0]].client(member[1])
    return (
        FabricLane(
            kind="fabric",
            name="fabric",
            caip2=ledgers.fabric_caip2,
            registry=ledgers.fabric_lane.registry,
            channel=CHANNEL,
            chaincode=fabric.plan.chaincode,
            peers=tuple(FabricPeer(endpoint=nodes[i].endpoint, tls_ca=nodes[i].tls_ca) for i in peers),
            member=FabricMember(msp=files.msp_id, certificate=files.certificate, private_key=files.key),
        ),
        EthereumLane(
            kind="ethereum",
            name="ethereum",
            caip2=f"eip155:{ledgers.plan.chain_id}",
            registry=ledgers.site.lane.registry,
            endpoints=(ledgers.ethereum_url, ledgers.ethereum_url),
            finality=DepthRule(kind="depth", depth=ledgers.plan.finality_depth),
            sender=sender,
            note=ONE_NODE,
        ),
    )


def _process(folder: StateFolder, name: str, module: str, config: Any, http: HttpConfig) -> ProcessSpec:
    own = folder.process(name)
    path: Path = own / "config.json"
    write_json(path, to_json(config))
    return ProcessSpec(
        name=name,
        argv=(sys.executable, "-m", f"caimi.apps.{module}", "--config", str(path)),
        env={"PYTHONUNBUFFERED": "1"},
        cwd=own,
        # Structured steps go to the log that the configuration names; what is left is what Python itself prints.
        log_path=folder.log(f"{name}.out"),
        health_url=f"http://{http.host}:{http.port}/healthz",
        ready_url=f"http://{http.host}:{http.port}/readyz",
    )
