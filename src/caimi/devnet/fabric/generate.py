"""Makes a network's lasting files once, and reads them back at every later start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from caimi.devnet.fabric.chaincode_package import build_package, package_id, write_builder
from caimi.devnet.fabric.configtx import PROFILE, channel_config
from caimi.devnet.fabric.crypto_material import cryptogen_config
from caimi.devnet.fabric.errors import BadFabricPlan, FabricStateUnusable, FabricToolFailed
from caimi.devnet.fabric.network import (
    CHANNEL,
    FabricBinaries,
    FabricNetwork,
    FabricPlan,
    orderer_nodes,
    peer_nodes,
)

__all__ = ["generate_network", "load_network", "network_exists"]

_FORMAT: Final = 1
_DESCRIPTION: Final = "network.json"
_TOOL_TIMEOUT_S: Final = 120


def network_exists(root: Path) -> bool:
    """Tell whether `generate_network` has finished below `root`."""
    return (root / "network" / _DESCRIPTION).is_file()


def generate_network(root: Path, plan: FabricPlan, *, binaries: FabricBinaries, chaincode: Path) -> FabricNetwork:
    """Make key material, genesis block, builder and chaincode package below `root`; all of it appears at once.

    Args:
        root: Folder of the network; made if it is missing, readable by the owner only.
        chaincode: Static executable that the peers will start.

    Raises:
        FabricStateUnusable: `root` has a network already.
        FabricToolFailed: cryptogen or configtxgen failed.
        BadFabricPlan: The chaincode is not a readable file.
    """
    root = root.resolve()
    if network_exists(root):
        raise FabricStateUnusable(f"{root} has a network already")
    try:
        binary = chaincode.read_bytes()
    except OSError as error:
        raise BadFabricPlan(f"cannot read the chaincode {chaincode}: {error.strerror}") from error
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = root / "network.new"
    # What an earlier run left before it was killed is worth nothing.
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    _make_crypto(fresh, plan, binaries)
    _make_genesis(fresh, plan, binaries)
    write_builder(fresh / "builder")
    label = f"{plan.chaincode}_{plan.chaincode_version}"
    package = build_package(binary, label=label)
    (fresh / "chaincode.tar.gz").write_bytes(package)
    identity = package_id(package, label=label)
    description = {"format": _FORMAT, "package_id": identity, "plan": plan.to_json()}
    (fresh / _DESCRIPTION).write_text(json.dumps(description, indent=1))
    fresh.rename(root / "network")
    return FabricNetwork(root=root, plan=plan, package_id=identity)


def load_network(root: Path) -> FabricNetwork:
    """Read the network that `generate_network` made below `root`.

    Raises:
        FabricStateUnusable: There is none, or another version made it.
    """
    root = root.resolve()
    path = root / "network" / _DESCRIPTION
    try:
        content: Any = json.loads(path.read_bytes())
        found = content["format"]
        if found != _FORMAT:
            raise FabricStateUnusable(f"{path} has format {found}, this version reads {_FORMAT}")
        plan = FabricPlan.from_json(content["plan"])
        return FabricNetwork(root=root, plan=plan, package_id=str(content["package_id"]))
    except OSError as error:
        raise FabricStateUnusable(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, BadFabricPlan) as error:
        raise FabricStateUnusable(f"{path} is not a network description: {error}") from error


def _make_crypto(folder: Path, plan: FabricPlan, binaries: FabricBinaries) -> None:
    crypto = folder / "crypto"
    config = cryptogen_config(
        orderer_nodes(crypto, plan.ports),
        peer_nodes(crypto, plan.ports),
        clients_per_organisation=plan.clients_per_organisation,
    )
    path = folder / "crypto-config.json"
    path.write_text(json.dumps(config, indent=1))
    _run([binaries.cryptogen, "generate", "--config", path, "--output", crypto], {})


def _make_genesis(folder: Path, plan: FabricPlan, binaries: FabricBinaries) -> None:
    crypto = folder / "crypto"
    config = channel_config(
        orderer_nodes(crypto, plan.ports),
        peer_nodes(crypto, plan.ports),
        batch_interval_ms=plan.batch_interval_ms,
        ordering=plan.ordering,
    )
    path = folder / "configtx.yaml"
    path.write_text(json.dumps(config, indent=1))
    where = ["-configPath", folder, "-profile", PROFILE, "-channelID", CHANNEL]
    _run([binaries.configtxgen, *where, "-outputBlock", folder / "genesis.block"], {"FABRIC_CFG_PATH": str(folder)})
    path.unlink()  # names the folder before its renaming; the block is what counts


def _run(argv: list[Path | str], environment: dict[str, str]) -> None:
    variables = {"PATH": os.defpath, **environment}
    try:
        done = subprocess.run(argv, env=variables, capture_output=True, timeout=_TOOL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FabricToolFailed(f"{argv[0]}: {error}") from error
    if done.returncode != 0:
        raise FabricToolFailed(
            f"{argv[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}"
        )
