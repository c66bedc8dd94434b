"""The network's processes, for the supervisor."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

from caimi.devnet.fabric.network import FabricBinaries, FabricNetwork
from caimi.devnet.fabric.node_configs import orderer_config, peer_config
from caimi.devnet.process import ProcessSpec

__all__ = ["fabric_processes"]

# Halves the resident memory of a loaded network at the cost of a few percent of throughput (measured).
_GO_MEMORY: Final = {"GOGC": "50", "GOMEMLIMIT": "150MiB"}


def fabric_processes(network: FabricNetwork, binaries: FabricBinaries, *, logs: Path) -> tuple[ProcessSpec, ...]:
    """Write the nodes' configurations anew and return the processes of orderers and peers.

    The configurations are written at every start because they hold absolute paths: a moved state folder works.
    """
    authorities = [orderer.tls_ca for orderer in network.orderers]
    specs: list[ProcessSpec] = []
    for orderer in network.orderers:
        config = orderer_config(orderer, tls_authorities=authorities, data=network.root / "data" / orderer.name)
        folder = _write(network, orderer.name, "orderer.yaml", config)
        argv = (str(binaries.orderer),)
        specs.append(_spec(orderer.name, argv, folder, logs, orderer.health_url))
    for peer in network.peers:
        config = peer_config(
            peer,
            builder=network.builder,
            data=network.root / "data" / peer.name,
            time_window_s=network.plan.time_window_s,
        )
        folder = _write(network, peer.name, "core.yaml", config)
        argv = (str(binaries.peer), "node", "start")
        specs.append(_spec(peer.name, argv, folder, logs, peer.health_url))
    return tuple(specs)


def _write(network: FabricNetwork, name: str, file: str, config: dict[str, object]) -> Path:
    folder = network.root / "nodes" / name
    # The peer makes folders for its chaincode, with a client key in them, where TMPDIR says; a killed one leaves them.
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    (folder / "tmp").mkdir(mode=0o700, parents=True)
    (folder / file).write_text(json.dumps(config, indent=1))
    return folder


def _spec(name: str, argv: tuple[str, ...], folder: Path, logs: Path, health_url: str) -> ProcessSpec:
    return ProcessSpec(
        name=f"fabric-{name}",
        argv=argv,
        env={
            "FABRIC_CFG_PATH": str(folder),
            "FABRIC_LOGGING_SPEC": "warn",
            "FABRIC_LOGGING_FORMAT": "json",
            "TMPDIR": str(folder / "tmp"),
            **_GO_MEMORY,
        },
        cwd=folder,
        log_path=logs / f"fabric-{name}.log",
        health_url=health_url,
    )
