"""Steps run to the end, are counted, and decide the exit code."""

from collections.abc import Callable
from pathlib import Path

import pytest
from toolchain.steps import Step, run_steps


def _returning(code: int, ran: list[int]) -> Callable[[], int]:
    def run() -> int:
        ran.append(code)
        return code

    return run


def test_goes_on_after_a_failure_and_counts(capfd: pytest.CaptureFixture[str]) -> None:
    ran: list[int] = []
    steps = [Step(f"step {code}", _returning(code, ran)) for code in (0, 3, 0)]
    assert run_steps(steps) == 1
    assert ran == [0, 3, 0]
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1] == "2 passed, 1 failed"
    assert any(line.startswith("FAILED (3)") and line.endswith("step 3") for line in lines)


def test_all_passed(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_steps([Step("a", lambda: 0)]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "1 passed, 0 failed"


def test_leaves_out_only_what_has_no_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ran: list[int] = []
    steps = [
        Step("absent", _returning(1, ran), needs=tmp_path / "absent"),
        Step("present", _returning(0, ran), needs=tmp_path),
    ]
    assert run_steps(steps) == 0
    assert ran == [0]
    assert "absent" not in capfd.readouterr().out


def test_no_steps_at_all_is_not_a_pass(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_steps([Step("absent", lambda: 0, needs=tmp_path / "absent")]) == 1
    assert capfd.readouterr().out.splitlines()[-1] == "0 passed, 0 failed"


def test_a_negative_code_is_a_failure() -> None:
    # subprocess gives minus the signal's number for a program that was killed.
    assert run_steps([Step("killed", lambda: -9)]) == 1
