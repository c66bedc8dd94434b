"""All checks in order, into one report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from caimi.apps.devnet.errors import StillStarting
from caimi.apps.devnet.folder import StateFolder
from caimi.apps.devnet.running import is_running
from caimi.apps.devnet.status import DevnetStatus, read_status
from caimi.apps.doctor.findings import Finding, Machine, Report, Severity, Subject
from caimi.apps.doctor.machine import (
    check_cache,
    check_contracts,
    check_programs,
    check_python,
    check_room,
    check_toolchain,
)
from caimi.apps.doctor.network import judge_lanes, judge_processes, judge_relay_account, judge_services
from caimi.apps.doctor.state import (
    check_clock,
    check_format,
    check_keys,
    check_leftovers,
    check_permissions,
    check_ports,
)
from caimi.devnet.toolchain import ToolchainError, named_programs
from caimi.types.errors import CaimiError

__all__ = ["CHECKS", "examine"]

_STANDING: Final[dict[str, Callable[[Subject], Iterator[Finding]]]] = {
    "python": check_python,
    "toolchain": check_toolchain,
    "programs": check_programs,
    "contracts": check_contracts,
    "cache": check_cache,
    "room": check_room,
    "format": check_format,
    "permissions": check_permissions,
    "keys": check_keys,
    "ports": check_ports,
    "clock": check_clock,
    "leftovers": check_leftovers,
}
_RUNNING: Final[dict[str, Callable[[Subject, DevnetStatus], Iterator[Finding]]]] = {
    "processes": judge_processes,
    "services": judge_services,
    "lanes": judge_lanes,
}

CHECKS: Final = (*_STANDING, "status", *_RUNNING, "balances", "clocks")
"""Names of all checks; those from "status" on need a network that runs."""


async def examine(home: Path, machine: Machine) -> Report:
    """Look at everything. Nothing is changed, and nothing that is wrong keeps the rest from being looked at."""
    subject = Subject(machine=machine, folder=StateFolder.at(home))
    findings = [finding for check in _STANDING.values() for finding in check(subject)]
    if not is_running(subject.folder.root):
        return Report(home=subject.folder.root, checks=tuple(_STANDING), findings=tuple(findings))
    try:
        status = await read_status(home)
        findings += [finding for judge in _RUNNING.values() for finding in judge(subject, status)]
    except CaimiError as error:
        severity = Severity.PASSING if isinstance(error, StillStarting) else Severity.BROKEN
        text = f"{type(error).__name__}: {error}"
        findings.append(Finding(check="status", severity=severity, text=text, mend="caimi up"))
    findings += [finding async for finding in judge_relay_account(subject, cast=_cast(machine))]
    return Report(home=subject.folder.root, checks=CHECKS, findings=tuple(findings))


def _cast(machine: Machine) -> str:
    try:
        return str(named_programs(environment=machine.environment, prefix=machine.prefix)["cast"])
    except ToolchainError:
        return "cast"
