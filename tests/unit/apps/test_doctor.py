"""`caimi doctor` on a machine and a stopped network: one test for each thing that it finds, and that it only looks."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from caimi.apps.devnet.folder import load_or_make_plan
from caimi.apps.doctor import machine, state
from caimi.apps.doctor.examine import CHECKS, examine
from caimi.apps.doctor.findings import Finding, Report, Severity, Subject
from caimi.apps.doctor.machine import LEAST_BYTES, WISHED_BYTES
from caimi.cli.app import app
from tests.cli.test_docs import parse_command
from tests.unit.apps.doctor_subject import a_subject, only, tree


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return a_subject(tmp_path)


def _report(subject: Subject) -> Report:
    return asyncio.run(examine(subject.folder.root, subject.machine))


def _manifest(subject: Subject) -> Path:
    return subject.machine.prefix / "caimi-toolchain.json"


def _program(subject: Subject, name: str) -> Path:
    return Path(json.loads(_manifest(subject).read_text())["anvil"]).with_name(name)


def _no_room(path: Path) -> int:
    return 0


def _only_executes(path: Path, mode: int) -> bool:
    return mode == os.X_OK


def test_sound_machine_and_folder_have_no_finding(subject: Subject) -> None:
    report = _report(subject)
    assert (report.findings, report.exit_code) == ((), 0)
    assert set(report.checks) < set(CHECKS)


# --- the machine


@pytest.mark.parametrize("version", [(3, 10), (3, 14), (2, 7)])
def test_finds_an_unsupported_python(subject: Subject, version: tuple[int, int]) -> None:
    changed = replace(subject, machine=replace(subject.machine, python=version))
    finding = only(machine.check_python, changed)
    assert f"Python {version[0]}.{version[1]} runs this" in finding.text
    assert finding.mend == "python3.13 tools/bootstrap.py setup"


def test_finds_a_missing_toolchain_file(subject: Subject) -> None:
    _manifest(subject).unlink()
    finding = only(machine.check_toolchain, subject)
    assert str(_manifest(subject)) in finding.text
    assert finding.mend == "python3 tools/bootstrap.py setup"
    assert list(machine.check_programs(subject)) == []


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2}', '{"format": 1}'])
def test_finds_a_damaged_toolchain_file(subject: Subject, content: str) -> None:
    _manifest(subject).write_text(content)
    only(machine.check_toolchain, subject)


@pytest.mark.parametrize("name", ["peer", "orderer", "configtxgen", "cryptogen", "anvil", "cast", "chaincode", "solc"])
def test_finds_each_missing_program(subject: Subject, name: str) -> None:
    _program(subject, name).unlink()
    finding = only(machine.check_programs, subject)
    assert finding.text == f"{name}: {_program(subject, name)} is missing"
    assert finding.mend == "python3 tools/bootstrap.py setup"


def test_finds_a_program_that_is_not_executable(subject: Subject) -> None:
    _program(subject, "peer").chmod(0o644)
    assert "is not executable" in only(machine.check_programs, subject).text


@pytest.mark.parametrize("name", ["peer", "anvil", "chaincode", "solc"])
def test_finds_a_program_that_was_changed(subject: Subject, name: str) -> None:
    with _program(subject, name).open("ab") as file:
        file.write(b"x")
    assert "its SHA-256 is another one" in only(machine.check_programs, subject).text


def test_finds_a_program_that_nobody_built(subject: Subject) -> None:
    stamp = _program(subject, "anvil").parents[1] / ".caimi-stamp.json"
    files = json.loads(stamp.read_text())
    del files["files"]["bin/anvil"]
    stamp.write_text(json.dumps(files))
    assert "is not among the files of" in only(machine.check_programs, subject).text


def test_takes_a_program_without_a_stamp_as_it_is(subject: Subject) -> None:
    (_program(subject, "anvil").parents[1] / ".caimi-stamp.json").unlink()
    assert list(machine.check_programs(subject)) == []


def test_finds_missing_contracts(subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "artefact_folder", lambda: tmp_path / "nothing")
    assert "CaimiRegistry.json" in only(machine.check_contracts, subject).text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_finds_a_cache_that_cannot_be_written(subject: Subject) -> None:
    cache = subject.machine.prefix / "cache" / "caimi"
    cache.chmod(0o500)
    try:
        assert str(cache) in only(machine.check_cache, subject).text
    finally:
        cache.chmod(0o700)


def test_finds_a_cache_that_the_system_lets_nobody_write(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = subject.machine.prefix / "cache" / "caimi"

    def allowed(path: Path, mode: int) -> bool:
        return path != refused

    monkeypatch.setattr(os, "access", allowed)
    finding = only(machine.check_cache, subject)
    assert str(refused) in finding.text
    assert "CAIMI_CACHE" in finding.mend
    named = replace(subject.machine, environment={"CAIMI_CACHE": str(refused.parent / "mine")})
    assert list(machine.check_cache(replace(subject, machine=named))) == []


@pytest.mark.parametrize(
    ("free", "severity"), [(LEAST_BYTES - 1, Severity.BROKEN), (WISHED_BYTES - 1, Severity.NOTE), (WISHED_BYTES, None)]
)
def test_finds_too_little_room(subject: Subject, free: int, severity: Severity | None) -> None:
    def of_the_folder(path: Path) -> int:
        return free if path == subject.folder.root else 1 << 40

    changed = replace(subject, machine=replace(subject.machine, free_bytes=of_the_folder))
    if severity is None:
        assert list(machine.check_room(changed)) == []
    else:
        assert "are free for the state folder" in only(machine.check_room, changed, severity).text


def test_finds_too_little_room_for_the_cache(subject: Subject) -> None:
    def of_the_cache(path: Path) -> int:
        return 0 if "cache" in path.parts else 1 << 40

    changed = replace(subject, machine=replace(subject.machine, free_bytes=of_the_cache))
    assert "are free for the cache" in only(machine.check_room, changed).text


# --- the state folder


def test_notes_that_there_is_no_network_yet(subject: Subject, tmp_path: Path) -> None:
    report = asyncio.run(examine(tmp_path / "none", subject.machine))
    (finding,) = report.findings
    assert (finding.check, finding.severity, report.exit_code) == ("format", Severity.NOTE, 0)
    assert not (tmp_path / "none").exists()


def test_finds_a_folder_of_another_version(subject: Subject) -> None:
    subject.folder.plan.write_text(json.dumps({"format": 99}))
    finding = only(state.check_format, subject)
    assert "OtherFormat" in finding.text
    assert finding.mend.endswith("down --wipe")


def test_finds_a_damaged_description(subject: Subject) -> None:
    subject.folder.network.write_text("{")
    assert "MalformedFile" in only(state.check_format, subject).text


def test_finds_a_folder_of_something_else(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("x")
    changed = replace(subject, folder=type(subject.folder).at(tmp_path / "thesis"))
    assert "NoStateFolder" in only(state.check_format, changed).text


@pytest.mark.parametrize(
    ("name", "mode", "expected"),
    [
        ("token", 0o644, "600"),
        ("password", 0o640, "600"),
        ("keys/relay-sender.key", 0o604, "600"),
        ("accounts/publisher.key", 0o666, "600"),
        ("processes/relay/config.json", 0o644, "600"),
        (".", 0o755, "700"),
    ],
)
def test_finds_secrets_that_others_may_read(subject: Subject, name: str, mode: int, expected: str) -> None:
    path = subject.folder.root / name
    path.chmod(mode)
    finding = only(state.check_permissions, subject)
    assert f"mode {mode:o}" in finding.text
    assert finding.mend == f"chmod {expected} {path}"
    subprocess.run(finding.mend, shell=True, check=True)
    assert list(state.check_permissions(subject)) == []


def test_finds_files_of_another_user(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: real + 1)
    findings = list(state.check_permissions(subject))
    assert findings
    assert all(f"belongs to user {real}, not to {real + 1}" in finding.text for finding in findings)
    assert findings[0].mend.startswith("sudo chown -R")


def test_finds_a_missing_token(subject: Subject) -> None:
    subject.folder.token.unlink()
    assert "token is missing" in only(state.check_keys, subject).text


def test_finds_a_password_that_opens_no_key(subject: Subject) -> None:
    subject.folder.password.write_text("another one\n")
    assert "WrongPassword" in only(state.check_keys, subject).text


def test_finds_a_missing_password(subject: Subject) -> None:
    subject.folder.password.unlink()
    assert "KeyFileError" in only(state.check_keys, subject).text


@pytest.mark.parametrize("which", [0, -1])
def test_finds_a_port_that_somebody_else_uses(subject: Subject, which: int) -> None:
    port = load_or_make_plan(subject.folder).ports[which]
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        finding = only(state.check_ports, subject)
    assert f"port {port}" in finding.text
    assert finding.mend == f"ss -ltnp 'sport = :{port}'"
    assert list(state.check_ports(subject)) == []


def test_does_not_mind_the_ports_of_its_own_network(subject: Subject) -> None:
    with _held(subject.folder.root / "supervisor.lock"), socket.socket() as own:
        own.bind(("127.0.0.1", load_or_make_plan(subject.folder).ports[0]))
        own.listen()
        assert list(state.check_ports(subject)) == []


def test_finds_a_clock_that_was_set_back(subject: Subject) -> None:
    earlier = max(path.stat().st_mtime for path in subject.folder.root.glob("*")) - 600
    finding = only(state.check_clock, replace(subject, machine=replace(subject.machine, now=lambda: earlier)))
    assert "600 s before the last change" in finding.text
    before_all = replace(subject, machine=replace(subject.machine, now=lambda: 0.0))
    for path in subject.folder.root.glob("*"):
        os.utime(path, (0, 0))
    assert only(state.check_clock, before_all), "the plan knows when it was made"


def test_finds_processes_without_a_supervisor(subject: Subject) -> None:
    with _left_behind(subject) as process:
        finding = only(state.check_leftovers, subject)
        assert f"relay ({process.pid})" in finding.text
        assert finding.mend == f"kill -- -{process.pid}"
        subprocess.run(finding.mend, shell=True, check=True)
        process.wait()
        assert list(state.check_leftovers(subject)) == []


def test_does_not_take_another_program_for_its_own(subject: Subject) -> None:
    with _left_behind(subject, cwd=Path("/")):
        assert list(state.check_leftovers(subject)) == []


def test_finds_a_lock_that_outlives_its_supervisor(subject: Subject) -> None:
    with _held(subject.folder.root / "children.lock"):
        finding = only(state.check_leftovers, subject, Severity.PASSING)
        assert "children.lock is held" in finding.text
        assert _report(subject).exit_code == 4
        with _held(subject.folder.root / "supervisor.lock"):
            assert list(state.check_leftovers(subject)) == []


# --- the whole


def test_worst_finding_decides_the_exit_code(subject: Subject) -> None:
    note, passing, broken = (Finding(check="x", severity=s, text="", mend="") for s in Severity)
    home = subject.folder.root

    def code(*findings: Finding) -> int:
        return Report(home=home, checks=(), findings=findings).exit_code

    assert [code(), code(note), code(note, passing), code(passing, broken, note)] == [0, 0, 4, 3]


_BREAK: dict[str, Callable[[Subject], object]] = {
    "toolchain": lambda s: _manifest(s).unlink(),
    "programs": lambda s: _program(s, "peer").unlink(),
    "format": lambda s: s.folder.plan.write_text("{}"),
    "permissions": lambda s: s.folder.token.chmod(0o644),
    "keys": lambda s: s.folder.token.unlink(),
}


@pytest.mark.parametrize("check", _BREAK)
def test_every_check_is_part_of_the_examination(subject: Subject, check: str) -> None:
    _BREAK[check](subject)
    report = _report(subject)
    assert {finding.check for finding in report.findings} == {check}
    assert report.exit_code == 3
    shown = report.to_json()
    assert [entry["name"] for entry in shown["checks"] if not entry["is_fine"]] == [check]


@pytest.mark.parametrize("check", ["python", "room", "clock", "cache", "contracts"])
def test_every_check_of_the_machine_is_part_of_the_examination(
    subject: Subject, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {
        "python": replace(subject.machine, python=(3, 9)),
        "room": replace(subject.machine, free_bytes=_no_room),
        "clock": replace(subject.machine, now=lambda: 1.0),
    }.get(check, subject.machine)
    if check == "cache":
        monkeypatch.setattr(os, "access", _only_executes)
    if check == "contracts":
        monkeypatch.setattr(machine, "artefact_folder", lambda: Path("/nowhere"))
    report = _report(replace(subject, machine=changed))
    assert {finding.check for finding in report.findings} == {check}


def test_looking_changes_nothing(subject: Subject, tmp_path: Path) -> None:
    for check in ("permissions", "keys", "programs", "toolchain", "format"):
        before = tree(tmp_path)
        _report(subject)
        assert tree(tmp_path) == before
        _BREAK[check](subject)


def test_commands_that_mend_are_commands(subject: Subject) -> None:
    subject.folder.token.chmod(0o644)
    _program(subject, "peer").unlink()
    machines = replace(subject.machine, python=(3, 9), free_bytes=_no_room, now=lambda: 1.0)
    findings = _report(replace(subject, machine=machines)).findings
    subject.folder.plan.write_text("{}")
    findings += _report(subject).findings
    known = {"python3", "python3.13", "chmod", "rm", "sudo", "caimi"}
    assert len(findings) > 5
    for finding in findings:
        words = shlex.split(finding.mend)
        assert words[0] in known, finding.mend
        if words[0] == "caimi":
            parse_command(words[1:])


def test_command_line_shows_findings_and_ends_by_the_worst(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAIMI_TOOLCHAIN", str(_manifest(subject)))
    monkeypatch.setenv("CAIMI_CACHE", str(subject.machine.prefix / "cache"))
    home = ["--home", str(subject.folder.root)]
    fine = CliRunner().invoke(app, ["doctor", *home])
    assert (fine.exit_code, "fine     python, toolchain" in fine.stdout) == (0, True), fine.output
    subject.folder.token.chmod(0o644)
    shown = CliRunner().invoke(app, ["doctor", *home])
    assert shown.exit_code == 3
    assert "BROKEN   permissions: " in shown.stdout
    assert f"chmod 600 {subject.folder.token}" in shown.stdout
    told = CliRunner().invoke(app, ["doctor", *home, "--json"])
    assert told.exit_code == 3
    (finding,) = json.loads(told.stdout)["findings"]
    assert (finding["check"], finding["severity"]) == ("permissions", "broken")


class _held:
    # Holds a lock as the supervisor and the guard do.
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = self._path.open("a")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


class _left_behind:
    # A process that a supervisor wrote down and that outlived it.
    def __init__(self, subject: Subject, cwd: Path | None = None) -> None:
        self._root, self._cwd = subject.folder.root, cwd or subject.folder.process("relay")

    def __enter__(self) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
        self._process = subprocess.Popen(words, cwd=self._cwd, start_new_session=True)
        entry = {"pid": self._process.pid, "restarts": 0, "log": ""}
        (self._root / "supervisor.json").write_text(json.dumps({"pid": 1, "processes": {"relay": entry}}))
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
