"""How a devnet is: every process, every lane, and what is wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from caimi.apps.devnet.errors import NotRunning, StillStarting
from caimi.apps.devnet.folder import StateFolder
from caimi.apps.devnet.keys import validator_name
from caimi.apps.devnet.profiles import SHAPES
from caimi.apps.devnet.progress import unfinished_step
from caimi.apps.devnet.running import is_running
from caimi.apps.devnet.services import ONE_NODE
from caimi.devnet.memory import proportional_bytes
from caimi.sdk.connections import Connections
from caimi.sdk.json_fields import Fields, hex_text
from caimi.sdk.network import Network, ValidatorSite, read_network
from caimi.sdk.services import Service
from caimi.types.errors import CaimiError

__all__ = ["HALTED", "DevnetStatus", "ProcessStatus", "process_groups", "read_status"]

_ANSWER_S: Final = 10.0
"""How long a process may take to say how it is."""
Readiness = dict[str, tuple[str, ...]]
"""What each process lacks, by the name that the supervisor gives it."""


HALTED: Final = (
    "its chain broke its finality: nothing of this lane is certified until a quorum resumes it under its next "
    "generation, the other lanes go on; see docs/guide/brakes.md, then `caimi govern resume-lane LANE`"
)
"""What a halted lane means and needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One process."""

    name: str
    pid: int | None
    restarts: int
    exit_code: int | None
    log: str
    pss_mb: float | None
    ready: bool | None
    """Whether it says that it can do its work; None if it cannot be asked, or does not answer."""
    missing: tuple[str, ...]
    """What it lacks for that."""

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
    stalled: tuple[Mapping[str, Any], ...]
    """Workflows that made no progress for longer than the relay's bound, with what and whom they wait for. What keeps
    them is a problem only if it is in this devnet."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What this network does not show, one sentence each."""
        shape = next((shape for name, shape in SHAPES.items() if name == self.network.profile), None)
        return (ONE_NODE, *(() if shape is None or not shape.note else (shape.note,)))

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
            "stalled": [dict(workflow) for workflow in self.stalled],
            "group_key": None if network.group_key is None else hex_text(network.group_key),
            "epoch": network.epoch,
            "n": len(network.validators),
            "f": network.genesis.f,
            "q": network.q,
            "t": network.genesis.t,
            "attestation": "UNATTESTED",
            "profile": network.profile,
            "storage": network.storage,
            "notes": list(self.notes),
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
    """Ask the supervisor's file, the content store, the relay, the host and every validator, side by side.

    Raises:
        NotRunning: No devnet runs there.
        StillStarting: It is still being made.
        MalformedFile, OtherFormat: Its description cannot be read.
    """
    folder = StateFolder.at(home)
    if not is_running(home):
        raise NotRunning(f"no devnet runs in {home}")
    reached = unfinished_step(folder.progress)
    if not folder.network.is_file():
        raise StillStarting(f"the devnet in {home} is being made; done so far: {reached or 'nothing yet'}")
    network = read_network(home)
    problems = [] if reached is None else [f"it is still starting; done so far: {reached}"]
    lanes: dict[str, dict[str, Any]] = {
        name: {"caip2": lane.caip2, "registry": hex_text(lane.lane.registry), "validators": {}}
        for name, lane in network.lanes.items()
    }
    host: dict[str, Any] = {"attestation": "UNATTESTED"}
    readiness: Readiness = {}
    stalled: list[dict[str, Any]] = []
    connections = Connections(network, token=None)
    try:
        answers = await asyncio.gather(
            _asked("relay", _ask_relay(connections, lanes, stalled, readiness)),
            *(
                _asked(f"validator {v.index}", _ask_validator(connections, v, lanes, readiness))
                for v in network.validators
            ),
            _asked("host", _ask_host(connections, host, readiness)),
            _asked("content store", _ask_content(connections, readiness)),
        )
    finally:
        await connections.close()
    processes = tuple(_process(name, entry, readiness.get(name)) for name, entry in _supervised(home).items())
    problems += [f"{p.name} is down (exit code {p.exit_code}), see {p.log}" for p in processes if p.pid is None]
    problems += [problem for found in answers for problem in found]
    return DevnetStatus(
        network=network,
        processes=processes,
        lanes=lanes,
        host=host,
        problems=tuple(problems),
        stalled=tuple(stalled),
    )


async def _asked(who: str, question: Awaitable[list[str]]) -> list[str]:
    # What a process complains about, or that it does not answer: one that hangs may not hang the command.
    try:
        async with asyncio.timeout(_ANSWER_S):
            return await question
    except TimeoutError:
        return [f"{who}: no answer within {_ANSWER_S:.0f} s"]
    except (CaimiError, KeyError) as error:
        return [f"{who}: {type(error).__name__}: {error}"]


async def _ask_relay(
    connections: Connections,
    lanes: dict[str, dict[str, Any]],
    stalled: list[dict[str, Any]],
    readiness: Readiness,
) -> list[str]:
    problems: list[str] = []
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
    workflows = (await connections.relay.get("/v1/workflows")).objects("workflows")
    stalled += [workflow.values for workflow in workflows]
    return problems + await _ask_ready(connections.relay, "relay", readiness)


async def _ask_validator(
    connections: Connections, site: ValidatorSite, lanes: dict[str, dict[str, Any]], readiness: Readiness
) -> list[str]:
    problems: list[str] = []
    service = connections.service(site.url)
    answer = await service.get("/v1/status")
    fault = answer.object("keys").optional("fault", answer.object("keys").text)
    if fault:
        problems.append(f"validator {site.index}, key generation: {fault}")
    for lane in answer.objects("lanes"):
        condition, cause, name = lane.text("condition"), lane.text("cause"), lane.text("name")
        lanes[name]["validators"][str(site.index)] = {
            "condition": condition,
            "cause": cause,
            "final_height": lane.number("final_height"),
            "last_sequence": lane.number("last_sequence"),
            "sources": lane.number("sources"),
            "note": lane.text("note"),
        }
    unready = await _ask_ready(service, validator_name(site.index), readiness)
    return problems + [f"{text}; {HALTED}" if ": HALTED" in text else text for text in unready]


async def _ask_host(connections: Connections, host: dict[str, Any], readiness: Readiness) -> list[str]:
    url = connections.network.host_url
    if url is None:
        return []
    answer = await connections.service(url).get("/v1/status")
    host |= {
        "attestation": answer.text("attestation"),
        "signing_key": answer.text("signing_key"),
        "keys_until": answer.number("until"),
        "requests": answer.object("requests").values,
        "models": answer.number("models"),
    }
    return await _ask_ready(connections.service(url), "host", readiness)


async def _ask_ready(service: Service, name: str, readiness: Readiness) -> list[str]:
    # `name` is what the supervisor calls the process.
    readiness[name] = (await service.probe("/readyz")).texts("missing")
    return [f"{name} is not ready: {text}" for text in readiness[name]]


async def _ask_content(connections: Connections, readiness: Readiness) -> list[str]:
    return await _ask_ready(connections.service(connections.network.content_url), "content", readiness)


def _supervised(home: Path) -> dict[str, dict[str, Any]]:
    try:
        status = cast("dict[str, Any]", json.loads((home / "supervisor.json").read_text()))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, dict[str, Any]]", status.get("processes", {}))


def _process(name: str, entry: dict[str, Any], missing: tuple[str, ...] | None) -> ProcessStatus:
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
        ready=None if missing is None else not missing,
        missing=missing or (),
    )
