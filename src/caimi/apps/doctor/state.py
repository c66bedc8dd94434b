"""Is a state folder sound: version, permissions, keys, ports, the machine's clock, what an earlier run left behind."""

from __future__ import annotations

import json
import os
import shlex
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

from caimi.apps.devnet.folder import DevnetPlan, check_state, read_plan
from caimi.apps.devnet.running import is_running, lock_is_free
from caimi.apps.doctor.findings import Finding, Severity, Subject
from caimi.devnet.process_table import works_below
from caimi.sdk.accounts import load_account, read_password
from caimi.types.failure import CaimiError

__all__ = [
    "check_clock",
    "check_format",
    "check_keys",
    "check_leftovers",
    "check_permissions",
    "check_ports",
]

_SECRETS: Final = ("token", "password", "plan.json", "keys/*", "accounts/*", "drafts/*", "processes/*/config.json")
_WIPE: Final = "caimi --home {} down --wipe"
_CLOCK_S: Final = 5.0


def check_format(subject: Subject) -> Iterator[Finding]:
    """That there is a state folder, and of this version."""
    folder = subject.folder
    if not folder.root.exists():
        text = f"there is no network in {folder.root} yet"
        yield Finding(check="format", severity=Severity.NOTE, text=text, mend=f"caimi --home {_quoted(folder.root)} up")
        return
    try:
        check_state(folder)
    except CaimiError as error:
        text = f"{type(error).__name__}: {error}"
        yield Finding(check="format", severity=Severity.BROKEN, text=text, mend=_WIPE.format(_quoted(folder.root)))


def check_permissions(subject: Subject) -> Iterator[Finding]:
    """That only its owner can read what is secret, and that we are the owner."""
    root = subject.folder.root
    if not root.is_dir():
        return
    paths = [root, *(path for pattern in _SECRETS for path in sorted(root.glob(pattern)))]
    for path in paths:
        with suppress(OSError):
            found = path.stat()
            if found.st_uid != os.geteuid():
                text = f"{path} belongs to user {found.st_uid}, not to {os.geteuid()}"
                mend = f"sudo chown -R {os.geteuid()} {_quoted(root)}"
                yield Finding(check="permissions", severity=Severity.BROKEN, text=text, mend=mend)
            elif found.st_mode & 0o077:
                mode = "700" if path.is_dir() else "600"
                text = f"{path} has mode {stat.S_IMODE(found.st_mode):o}, others may use it; expected {mode}"
                mend = f"chmod {mode} {_quoted(path)}"
                yield Finding(check="permissions", severity=Severity.BROKEN, text=text, mend=mend)


def check_keys(subject: Subject) -> Iterator[Finding]:
    """That token and password are there and that the password opens the accounts."""
    folder = subject.folder
    if _plan(subject) is None or not folder.network.is_file():
        return  # they are made with the network
    wipe = _WIPE.format(_quoted(folder.root))
    if not folder.token.is_file():
        text = f"{folder.token} is missing: no command may change anything"
        yield Finding(check="keys", severity=Severity.BROKEN, text=text, mend="caimi down && caimi up")
    try:
        password = read_password(folder.password)
        for file in sorted((folder.root / "accounts").glob("*.key")):
            load_account(file, password)
    except CaimiError as error:
        if folder.password.is_file() and folder.password.stat().st_mode & 0o077:
            return  # `check_permissions` says it
        yield Finding(check="keys", severity=Severity.BROKEN, text=f"{type(error).__name__}: {error}", mend=wipe)


def check_ports(subject: Subject) -> Iterator[Finding]:
    """That the ports which the plan holds for ever are free while the network does not run."""
    plan = _plan(subject)
    if plan is None or is_running(subject.folder.root) or not lock_is_free(subject.folder.root / "children.lock"):
        return
    for port in plan.ports:
        if not _is_free(port):
            text = f"another program listens on port {port}, which is fixed in {subject.folder.plan}: end it first"
            mend = f"ss -ltnp 'sport = :{port}'"
            yield Finding(check="ports", severity=Severity.BROKEN, text=text, mend=mend)


def check_clock(subject: Subject) -> Iterator[Finding]:
    """That the machine's clock is not before what happened here already."""
    plan, now = _plan(subject), subject.machine.now()
    if plan is None:
        return
    written = max((path.stat().st_mtime for path in subject.folder.root.glob("*") if path.is_file()), default=0.0)
    latest = max(float(plan.created), written)
    if now + _CLOCK_S < latest:
        text = f"this machine's clock is {latest - now:.0f} s before the last change of the state folder"
        yield Finding(check="clock", severity=Severity.BROKEN, text=text, mend="sudo timedatectl set-ntp true")


def check_leftovers(subject: Subject) -> Iterator[Finding]:
    """That no process or lock of an earlier run is left while no supervisor works."""
    root = subject.folder.root
    if not root.is_dir() or is_running(root):
        return
    alive = [pid for pid in _supervised(root).values() if works_below(pid, root)]
    kill = " ".join(str(-pid) for pid in alive)
    if not lock_is_free(root / "children.lock"):
        text = f"the processes of a killed supervisor are being ended, {root / 'children.lock'} is held until then"
        mend = f"kill -KILL -- {kill}" if alive else f"caimi --home {_quoted(root)} up"
        yield Finding(check="leftovers", severity=Severity.PASSING, text=text, mend=mend)
    elif alive:
        names = ", ".join(f"{name} ({pid})" for name, pid in _supervised(root).items() if pid in alive)
        text = f"without a supervisor there still run: {names}"
        yield Finding(check="leftovers", severity=Severity.BROKEN, text=text, mend=f"kill -- {kill}")


def _plan(subject: Subject) -> DevnetPlan | None:
    # None where there is none, or where `check_format` says what is wrong with it.
    try:
        return read_plan(subject.folder) if subject.folder.plan.is_file() else None
    except CaimiError:
        return None


def _supervised(root: Path) -> dict[str, int]:
    # Process groups by name, as the last supervisor wrote them down.
    try:
        status: Any = json.loads((root / "supervisor.json").read_text(encoding="utf-8"))
        entries = cast("dict[str, dict[str, Any]]", status["processes"])
        return {name: entry["pid"] for name, entry in entries.items() if isinstance(entry.get("pid"), int)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Connections that have ended keep no port from a new listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
