"""Kubo as a process of the devnet: offline, on the loopback only, with a repository of its own.

* CaimiError
  + KuboUnusable: the repository cannot be made or is not one
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from caimi.devnet.process import ProcessSpec
from caimi.types.failure import Blame, CaimiError, Certainty, Retry

__all__ = ["HOST", "KuboPlan", "KuboUnusable", "kubo_process", "prepare_kubo"]

HOST: Final = "127.0.0.1"
"""The only address that Kubo listens on."""
_INIT_S: Final = 60


class KuboUnusable(CaimiError):
    """Kubo's repository cannot be made, or is damaged."""

    blame = Blame.OPERATOR
    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "free some room; a damaged repository goes with `caimi down --wipe`"


@dataclass(frozen=True, slots=True, kw_only=True)
class KuboPlan:
    """What is fixed when the network is made."""

    port: int
    """TCP port of the RPC on the loopback, 1 to 65535."""
    folder: Path
    """The repository."""

    @property
    def url(self) -> str:
        """Address of the RPC."""
        return f"http://{HOST}:{self.port}"


def prepare_kubo(plan: KuboPlan, *, program: Path) -> None:
    """Make the repository once, and write its addresses at every start.

    Raises:
        KuboUnusable: `program` cannot make it, or it is no repository.
    """
    if not plan.folder.is_dir():
        _init(plan.folder, program)
    path = plan.folder / "config"
    try:
        config = cast("dict[str, Any]", json.loads(path.read_bytes()))
        fresh = path.with_name("config.new")
        fresh.write_text(json.dumps(_closed(config, plan.port), indent=1), encoding="utf-8")
        fresh.chmod(0o600)
        fresh.replace(path)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise KuboUnusable(f"{path}: {error}") from error


def kubo_process(plan: KuboPlan, *, program: Path, log: Path) -> ProcessSpec:
    """The daemon; `prepare_kubo` comes before.

    Arguments:
        program: absolute path of `ipfs`.
    """
    return ProcessSpec(
        name="kubo",
        argv=(str(program), "daemon", "--offline", "--migrate=false"),
        env=_environment(plan.folder),
        cwd=plan.folder,
        log_path=log,
        health_url=f"tcp://{HOST}:{plan.port}",
    )


def _init(folder: Path, program: Path) -> None:
    # Made aside: one that was killed in the middle must not be taken for a repository.
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(mode=0o700, parents=True)
        words = [program, "init", "--empty-repo"]
        environment = {"PATH": os.defpath, "HOME": str(fresh), **_environment(fresh)}
        done = subprocess.run(words, env=environment, capture_output=True, timeout=_INIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KuboUnusable(f"{program}: {error}") from error
    if done.returncode != 0:
        raise KuboUnusable(
            f"{program} init ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
        )
    fresh.rename(folder)


def _environment(folder: Path) -> dict[str, str]:
    return {"IPFS_PATH": str(folder), "IPFS_TELEMETRY": "off"}


def _closed(config: dict[str, Any], port: int) -> dict[str, Any]:
    # No other node, no gateway, no name service, nothing asked of anybody.
    api = f"/ip4/{HOST}/tcp/{port}"
    return config | {
        "Addresses": {"API": api, "Gateway": [], "Swarm": [], "Announce": [], "AppendAnnounce": [], "NoAnnounce": []},
        "AutoConf": {"Enabled": False},
        "AutoTLS": {"Enabled": False},
        "Bootstrap": [],
        "DNS": {"Resolvers": {}},
        "Discovery": {"MDNS": {"Enabled": False}},
        "Ipns": {"DelegatedPublishers": []},
        "Provide": {"Enabled": False},
        "Routing": {"Type": "none", "DelegatedRouters": []},
    }
