"""One real devnet for many tests, and control of its processes: kill, stop, reconfigure, crash at a step.

Everything goes the way that an operator has: the supervisor's own file, the processes' configuration files, signals.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from caimi.apps.devnet.bringup import FIRST_TOKENS
from caimi.apps.devnet.folder import StateFolder, load_or_make_plan
from caimi.apps.devnet.keys import ACCOUNTS, make_keys
from caimi.apps.devnet.ledgers import Ledgers, prepare_ledgers
from caimi.apps.devnet.status import read_status
from caimi.crypto.ecdsa import SigningKey
from caimi.devnet.health import is_healthy
from caimi.devnet.toolchain import load_toolchain
from caimi.sdk.accounts import load_account, read_password
from caimi.sdk.connections import Connections
from caimi.sdk.network import Network, read_network
from caimi.types.errors import CaimiError
from caimi.types.primitives import Address

__all__ = ["PATIENCE_S", "Devnet", "running_devnet", "until"]

T = TypeVar("T")
PATIENCE_S = 240.0
"""How long anything may take on a machine that does much else."""
_POLL_S = 0.2


async def until(condition: Callable[[], Any], *, within_s: float = PATIENCE_S, what: str = "") -> None:
    """Wait until a condition, plain or a coroutine function, holds; errors of ledgers and services are "not yet"."""
    end, last = time.monotonic() + within_s, ""
    while True:
        try:
            found = condition()
            if await found if inspect.isawaitable(found) else found:
                return
        except CaimiError as error:
            last = f"{type(error).__name__}: {error}"
        assert time.monotonic() < end, f"not within {within_s:.0f} s: {what} {last}"
        await asyncio.sleep(_POLL_S)


@dataclass(slots=True, kw_only=True)
class Devnet:
    """A running devnet."""

    home: Path
    runner: asyncio.Runner
    """All coroutines run in its loop: the gRPC library does not like to see several."""
    network: Network
    ledgers: Ledgers
    connections: Connections
    """Of a user of the network: relay, content store, both ledgers."""
    accounts: dict[str, SigningKey]
    funds: dict[str, dict[Address, int]]
    """Who put in how much, by lane: an auditor's own books."""
    fresh: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def run(self, act: Coroutine[Any, Any, T]) -> T:
        """In the loop of this devnet."""
        return self.runner.run(act)

    # --- processes

    def process(self, name: str) -> dict[str, Any]:
        """What the supervisor says about a process."""
        status = cast("dict[str, Any]", json.loads((self.home / "supervisor.json").read_text()))
        return cast("dict[str, Any]", status["processes"][name])

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a running process."""
        pid = self.process(name)["pid"]
        assert pid is not None, f"{name} does not run"
        os.kill(pid, number)

    def health_url(self, name: str) -> str:
        """Where a process says that it is useful."""
        if name == "ethereum":
            return f"tcp://127.0.0.1:{self.ledgers.plan.ethereum_port}"
        nodes = {f"fabric-{node.name}": node for node in (*self.ledgers.fabric.orderers, *self.ledgers.fabric.peers)}
        if name in nodes:
            return nodes[name].health_url
        return f"http://127.0.0.1:{self.config(name)['http']['port']}/healthz"

    async def until_up(self, name: str, *, but_not: int | None = None) -> None:
        """Wait until a process (of another number than `but_not`) is useful."""
        url = self.health_url(name)

        async def is_up() -> bool:
            pid = self.process(name)["pid"]
            return pid not in (None, but_not) and await is_healthy(url)

        await until(is_up, what=f"{name} is up")

    async def restart(self, name: str) -> None:
        """Kill a process; the supervisor starts it again, with the configuration that it has then."""
        await self.until_up(name)
        pid = self.process(name)["pid"]
        self.signal(name, signal.SIGKILL)
        await self.until_up(name, but_not=pid)

    # --- configuration

    def config(self, name: str) -> dict[str, Any]:
        """The configuration of a process."""
        return cast("dict[str, Any]", json.loads(self._config(name).read_text()))

    def configure(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the configuration of a process for its next start."""
        config = self.config(name)
        change(config)
        new = self._config(name).with_suffix(".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(config, file)
        new.replace(self._config(name))

    async def arm(self, name: str, step: str, *, count: int = 1) -> Path:
        """Start a process anew, to die when it persists `step` for the `count`th time; returns the record of that."""
        record = self.record(name, step, count=count)
        await self.restart(name)
        return record

    def record(self, name: str, step: str, *, count: int = 1) -> Path:
        """Have a process die at a step after its next start; the path is made when it does."""
        record = self.home.parent / f"crashed-{next(self.fresh)}-{name}-{step}"

        def at_step(config: dict[str, Any]) -> None:
            config["crash_at"] = {"step": step, "count": count, "record": str(record)}

        self.configure(name, at_step)
        return record

    def _config(self, name: str) -> Path:
        return self.home / "processes" / name / "config.json"

    # --- views

    async def conditions(self, lane: str) -> dict[str, str]:
        """What each validator says about a lane, by its share index."""
        validators = (await read_status(self.home)).lanes[lane]["validators"]
        return {index: entry["condition"] for index, entry in validators.items()}


@contextmanager
def running_devnet(folder: Path) -> Generator[Devnet]:
    """Bring a devnet up in an empty folder; at the end none of its processes is left."""
    home = folder / "home"
    try:
        _caimi("up", home)
        with asyncio.Runner() as runner:
            devnet = runner.run(_open(home, runner))
            try:
                yield devnet
            finally:
                runner.run(devnet.connections.close())
    finally:
        _caimi("down", home)


async def _open(home: Path, runner: asyncio.Runner) -> Devnet:
    state = StateFolder.at(home)
    plan = load_or_make_plan(state)
    network = read_network(home)
    password = read_password(state.password)
    accounts = {name: load_account(state.account(name), password) for name in ACCOUNTS}
    return Devnet(
        home=home,
        runner=runner,
        network=network,
        ledgers=prepare_ledgers(state, plan, make_keys(state, plan), load_toolchain()),
        connections=Connections(network, token=state.token.read_text().strip()),
        accounts=accounts,
        funds={lane: {key.address: FIRST_TOKENS for key in accounts.values()} for lane in network.lanes},
    )


def _caimi(word: str, home: Path) -> None:
    command = [sys.executable, "-m", "caimi.cli", word]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=800, env={**os.environ, "CAIMI_HOME": str(home)}
    )
    assert done.returncode == 0, done.stderr
