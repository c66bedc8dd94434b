"""The build cache: whole or absent, never trusted unchecked, built once however many ask."""

import json
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from toolchain.cache import STAMP_NAME, Cache, content_key, default_root, locked


def _cache(root: Path) -> tuple[Cache, list[str]]:
    said: list[str] = []
    return Cache(root, say=said.append), said


def _counting_build(counter: list[int]) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        counter.append(1)
        (folder / "bin").mkdir()
        program = folder / "bin" / "tool"
        program.write_bytes(b"program")
        program.chmod(0o755)
        (folder / "tool").symlink_to("bin/tool")

    return build


def test_builds_once_and_then_reuses(tmp_path: Path) -> None:
    cache, _ = _cache(tmp_path)
    built: list[int] = []
    first = cache.ensure("tool", "k1", _counting_build(built))
    second = cache.ensure("tool", "k1", _counting_build(built))
    assert first == second == tmp_path / "tool" / "k1"
    assert len(built) == 1
    cache.ensure("tool", "k2", _counting_build(built))
    assert len(built) == 2


def _truncate(entry: Path) -> None:
    (entry / "bin" / "tool").write_bytes(b"prog")


def _same_length_edit(entry: Path) -> None:
    (entry / "bin" / "tool").write_bytes(b"Program")


def _delete_file(entry: Path) -> None:
    (entry / "bin" / "tool").unlink()


def _delete_stamp(entry: Path) -> None:
    (entry / STAMP_NAME).unlink()


def _cut_stamp(entry: Path) -> None:
    stamp = entry / STAMP_NAME
    stamp.write_bytes(stamp.read_bytes()[:20])


def _other_stamp_format(entry: Path) -> None:
    stamp = json.loads((entry / STAMP_NAME).read_text())
    (entry / STAMP_NAME).write_text(json.dumps({**stamp, "format": 0}))


def _add_file(entry: Path) -> None:
    (entry / "bin" / "stranger").write_bytes(b"")


def _lose_executable_bit(entry: Path) -> None:
    (entry / "bin" / "tool").chmod(0o644)


def _turn_link(entry: Path) -> None:
    (entry / "tool").unlink()
    (entry / "tool").symlink_to("/bin/sh")


def _become_a_file(entry: Path) -> None:
    for path in (entry / STAMP_NAME, entry / "tool", entry / "bin" / "tool"):
        path.unlink()
    (entry / "bin").rmdir()
    entry.rmdir()
    entry.write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _same_length_edit,
        _delete_file,
        _delete_stamp,
        _cut_stamp,
        _other_stamp_format,
        _add_file,
        _lose_executable_bit,
        _turn_link,
        _become_a_file,
    ],
)
def test_rebuilds_a_damaged_entry(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    cache, said = _cache(tmp_path)
    built: list[int] = []
    entry = cache.ensure("tool", "k", _counting_build(built))
    damage(entry)
    assert cache.find("tool", "k") is None
    assert cache.ensure("tool", "k", _counting_build(built)) == entry
    assert len(built) == 2
    assert (entry / "bin" / "tool").read_bytes() == b"program"
    assert any("damaged" in line for line in said)
    assert cache.find("tool", "k") == entry


def test_failed_build_leaves_nothing(tmp_path: Path) -> None:
    cache, _ = _cache(tmp_path)

    def fail(folder: Path) -> None:
        (folder / "half").write_bytes(b"x")
        raise RuntimeError("compiler")

    with pytest.raises(RuntimeError, match="compiler"):
        cache.ensure("tool", "k", fail)
    assert list((tmp_path / "tool").iterdir()) == []
    assert cache.find("tool", "k") is None


def test_removes_what_a_killed_build_left_and_only_that(tmp_path: Path) -> None:
    cache, _ = _cache(tmp_path)
    dead = tmp_path / "tool" / ".building-k-dead"
    other = tmp_path / "tool" / ".building-k2-alive"
    dead.mkdir(parents=True)
    other.mkdir()
    (dead / "half").write_bytes(b"x")
    cache.ensure("tool", "k", _counting_build([]))
    assert not dead.exists()
    assert other.exists()


def _race(root: str, barrier: Barrier) -> None:
    cache = Cache(Path(root), say=lambda _: None)

    def build(folder: Path) -> None:
        # O_EXCL makes a second build of the same entry fail instead of pass unnoticed.
        os.close(os.open(Path(root) / "built-once", os.O_CREAT | os.O_EXCL))
        (folder / "out").write_bytes(b"x" * 1000)

    barrier.wait()
    cache.ensure("tool", "k", build)


def test_two_processes_build_an_entry_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    children = [context.Process(target=_race, args=(str(tmp_path), barrier)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    cache, _ = _cache(tmp_path)
    assert cache.find("tool", "k") is not None


def _try_lock(path: str, answer: "Queue[bool]") -> None:
    waited: list[bool] = []

    def on_wait() -> None:
        waited.append(True)
        answer.put(True)

    with locked(Path(path), on_wait=on_wait):
        if not waited:
            answer.put(False)


@pytest.mark.parametrize("held", [True, False])
def test_lock_waits_only_while_another_process_holds_it(tmp_path: Path, held: bool) -> None:
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    path = tmp_path / "locks" / "l"
    child = context.Process(target=_try_lock, args=(str(path), answer))
    with locked(path if held else tmp_path / "other", on_wait=lambda: pytest.fail("nobody else has it")):
        child.start()
        assert answer.get(timeout=60) is held
    child.join(60)
    assert child.exitcode == 0


def test_key_depends_on_every_word_name_and_byte(tmp_path: Path) -> None:
    file = tmp_path / "go.mod"
    file.write_bytes(b"a")
    base = content_key(["1", "2"], [("go.mod", file)])
    assert content_key(["1", "2"], [("go.mod", file)]) == base
    others = {content_key(["12"], [("go.mod", file)]), content_key(["1", "2"], [("go.sum", file)])}
    others.add(content_key(["1", "2"], []))
    others.add(content_key(["2", "1"], [("go.mod", file)]))
    file.write_bytes(b"b")
    others.add(content_key(["1", "2"], [("go.mod", file)]))
    assert base not in others
    assert len(others) == 5


def test_default_root_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_root({"CAIMI_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert default_root({"XDG_CACHE_HOME": "/b"}) == Path("/b/caimi")
    assert default_root({"XDG_CACHE_HOME": "relative"}) == Path("/home/somebody/.cache/caimi")
    assert default_root({}) == Path("/home/somebody/.cache/caimi")
