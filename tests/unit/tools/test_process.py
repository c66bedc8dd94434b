"""Running programs: what is kept, what is said, what is raised."""

import os
import sys
from pathlib import Path

import pytest
from toolchain.errors import ToolchainError
from toolchain.process import call, call_watching, capture, run_logged

_ENVIRONMENT = dict(os.environ)


def test_logged_run_keeps_the_output(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    run_logged(
        [sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"],
        label="x",
        log=log,
        cwd=tmp_path,
        environment=_ENVIRONMENT,
    )
    assert sorted(log.read_text().split()) == ["err", "out"]


def test_rejects_a_failed_run_with_the_end_of_its_output(tmp_path: Path) -> None:
    program = "print('\\n'.join(f'line {i}' for i in range(100))); raise SystemExit(3)"
    with pytest.raises(ToolchainError) as caught:
        run_logged(
            [sys.executable, "-c", program], label="it", log=tmp_path / "log", cwd=tmp_path, environment=_ENVIRONMENT
        )
    assert "ended with 3" in str(caught.value)
    assert "line 99" in str(caught.value)
    assert "line 12\n" not in str(caught.value)


def test_rejects_a_program_that_is_not_there(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(ToolchainError, match="cannot start"):
        run_logged([absent], label="x", log=tmp_path / "log", cwd=tmp_path, environment=_ENVIRONMENT)
    with pytest.raises(ToolchainError, match="cannot start"):
        capture([absent], cwd=tmp_path, environment=_ENVIRONMENT)
    assert call([absent], cwd=tmp_path, environment=_ENVIRONMENT) == 127


def test_capture_rejects_a_failure_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="no such luck"):
        capture([sys.executable, "-c", "raise SystemExit('no such luck')"], cwd=tmp_path, environment=_ENVIRONMENT)
    assert capture([sys.executable, "-c", "print(7)"], cwd=tmp_path, environment=_ENVIRONMENT) == "7\n"


def test_call_returns_the_exit_code(tmp_path: Path) -> None:
    assert call([sys.executable, "-c", "raise SystemExit(5)"], cwd=tmp_path, environment=_ENVIRONMENT) == 5


@pytest.mark.parametrize(("printed", "seen"), [("  Ran 3 tests", True), ("I ran", False), ("", False)])
def test_watching_call_sees_the_marker_and_passes_the_output_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], printed: str, seen: bool
) -> None:
    command = [sys.executable, "-c", f"print({printed!r}); raise SystemExit(4)"]
    assert call_watching(command, marker="Ran ", cwd=tmp_path, environment=_ENVIRONMENT) == (4, seen)
    assert capfd.readouterr().out == printed + "\n"
    assert call_watching([tmp_path / "absent"], marker="x", cwd=tmp_path, environment=_ENVIRONMENT) == (127, False)
