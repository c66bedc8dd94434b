"""How a devnet is: every process, every lane, and what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from caimi.apps.devnet.errors import NotRunning
from caimi.apps.devnet.running import is_running
from caimi.apps.devnet.services import ONE_NODE
from caimi.devnet.memory import proportional_bytes
from caimi.sdk.connections import Connections
from caimi.sdk.errors import SdkError
from caimi.sdk.json_fields import Fields, hex_text
from caimi.sdk.network import Network, read_network
from caimi.types.errors import CaimiError

__all__ = ["DevnetStatus", "ProcessStatus", "process_groups", "read_status"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One process."""

    name: str
    pid: int | None
    restarts: int
    exit_code: int | None
    log: str
    pss_mb: float | None

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class DevnetStatus:
    """Everything that `caimi status` shows."""

    network: Network
    processes: tuple[ProcessStatus, ...]
    lanes: Mapping[str, Mapping[str, Any]]
    """By name: heights and lag by the relay, conditions by validator."""
    host: Mapping[str, Any]
    """How the host is, empty if it does not answer; always with `attestation`."""
    problems: tuple[str, ...]
    """One sentence each; empty if all is well."""

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        network = self.network
        return {
            "home": str(network.home),
            "network": hex_text(network.id),
            "healthy": self.is_healthy,
            "problems": list(self.problems),
            "group_key": None if network.group_key is None else hex_text(network.group_key),
            "epoch": network.epoch,
            "n": len(network.validators),
            "f": network.genesis.f,
            "q": network.q,
            "t": network.genesis.t,
            "attestation": "UNATTESTED",
            "notes": [ONE_NODE],
            "lanes": {name: dict(lane) for name, lane in self.lanes.items()},
            "processes": [process.to_json() for process in self.processes],
            "relay": network.relay_url,
            "content": network.content_url,
            "host": {"url": network.host_url, **self.host},
        }


def process_groups(home: Path) -> tuple[int, ...]:
    """Process groups of the devnet's processes that run, by the supervisor's own account."""
    return tuple(pid for pid in (process.get("pid") for process in _supervised(home).values()) if isinstance(pid, int))


async def read_status(home: Path) -> DevnetStatus:
    """Ask the supervisor's file, the relay and every validator.

    Raises:
        NotRunning: No devnet runs there.
        NoNetwork: It is still being made.
    """
    if not is_running(home):
        raise NotRunning(f"no devnet runs in {home}")
    network = read_network(home)
    processes = tuple(_process(name, entry) for name, entry in _supervised(home).items())
    problems = [f"{p.name} is down (exit code {p.exit_code}), see {p.log}" for p in processes if p.pid is None]
    lanes: dict[str, dict[str, Any]] = {
        name: {"caip2": lane.caip2, "registry": hex_text(lane.lane.registry), "validators": {}}
        for name, lane in network.lanes.items()
    }
    connections = Connections(network, token=None)
    try:
        await _ask_relay(connections, lanes, problems)
        for site in network.validators:
            await _ask_validator(connections, site.index, site.url, lanes, problems)
        host = await _ask_host(connections, problems)
    finally:
        await connections.close()
    return DevnetStatus(network=network, processes=processes, lanes=lanes, host=host, problems=tuple(problems))


async def _ask_relay(connections: Connections, lanes: dict[str, dict[str, Any]], problems: list[str]) -> None:
    try:
        for lane in (await connections.relay.get("/v1/status")).objects("lanes"):
            lanes[lane.text("name")] |= {
                "height": lane.number("height"),
                "final_height": lane.number("final_height"),
                "events": lane.number("followed"),
                "lag": lane.object("lag").values,
                "calls": lane.object("calls").values,
                "hint": lane.text("hint"),
            }
            if lane.text("hint"):
                problems.append(f"lane {lane.text('name')}: {lane.text('hint')}")
    except (SdkError, CaimiError, KeyError) as error:
        problems.append(f"relay: {type(error).__name__}: {error}")


async def _ask_validator(
    connections: Connections, index: int, url: str, lanes: dict[str, dict[str, Any]], problems: list[str]
) -> None:
    try:
        answer = await connections.service(url).get("/v1/status")
        fault = answer.object("keys").optional("fault", answer.object("keys").text)
        if fault:
            problems.append(f"validator {index}, key generation: {fault}")
        for lane in answer.objects("lanes"):
            condition, cause, name = lane.text("condition"), lane.text("cause"), lane.text("name")
            lanes[name]["validators"][str(index)] = {
                "condition": condition,
                "cause": cause,
                "final_height": lane.number("final_height"),
                "last_sequence": lane.number("last_sequence"),
                "sources": lane.number("sources"),
                "note": lane.text("note"),
            }
            if condition not in ("following", "starting"):
                problems.append(f"validator {index}, lane {name}: {condition.upper()}: {cause}")
    except (SdkError, CaimiError, KeyError) as error:
        problems.append(f"validator {index}: {type(error).__name__}: {error}")


async def _ask_host(connections: Connections, problems: list[str]) -> dict[str, Any]:
    url = connections.network.host_url
    if url is None:
        return {"attestation": "UNATTESTED"}
    try:
        answer = await connections.service(url).get("/v1/status")
        return {
            "attestation": answer.text("attestation"),
            "signing_key": answer.text("signing_key"),
            "keys_until": answer.number("until"),
            "requests": answer.object("requests").values,
            "models": answer.number("models"),
        }
    except (SdkError, CaimiError) as error:
        problems.append(f"host: {type(error).__name__}: {error}")
        return {"attestation": "UNATTESTED"}


def _supervised(home: Path) -> dict[str, dict[str, Any]]:
    try:
        status = cast("dict[str, Any]", json.loads((home / "supervisor.json").read_text()))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, dict[str, Any]]", status.get("processes", {}))


def _process(name: str, entry: dict[str, Any]) -> ProcessStatus:
    fields = Fields(entry, f"supervisor.json: {name}")
    pid = fields.optional("pid", fields.number)
    memory = proportional_bytes([pid]) if pid else None
    code = entry.get("exit_code")
    return ProcessStatus(
        name=name,
        pid=pid,
        restarts=fields.number("restarts"),
        exit_code=code if isinstance(code, int) else None,
        log=fields.text("log"),
        pss_mb=None if memory is None else round(memory / 1e6, 1),
    )
