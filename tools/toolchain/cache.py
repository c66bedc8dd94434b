"""A cache of build outputs, keyed by the content of their inputs and checked by the content of their files.

One entry is one folder `<root>/<name>/<key>`. It is built beside its place and renamed into it, so it is either whole
or absent; a stamp with the hash of every file is written last and compared on every use, so an entry that was cut
short or edited is built again instead of being trusted. One file lock per entry makes two bootstraps build it once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

__all__ = ["STAMP_NAME", "Cache", "content_key", "default_root", "file_sha256", "locked"]

STAMP_NAME = ".caimi-stamp.json"
_STAMP_FORMAT = 1
_KEY_LENGTH = 24


def default_root(environment: dict[str, str]) -> Path:
    """The cache folder: $CAIMI_CACHE, else $XDG_CACHE_HOME/caimi, else ~/.cache/caimi."""
    explicit = environment.get("CAIMI_CACHE")
    if explicit:
        return Path(explicit).absolute()
    xdg = environment.get("XDG_CACHE_HOME")
    # The XDG rules say that a relative path there is to be ignored.
    if xdg and os.path.isabs(xdg):
        return Path(xdg) / "caimi"
    return Path.home() / ".cache" / "caimi"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_key(words: Iterable[str], files: Iterable[tuple[str, Path]] = ()) -> str:
    """A key over strings (versions, flags) and over the names and bytes of files. Order matters; lengths are hashed."""
    digest = hashlib.sha256()
    for word in words:
        digest.update(f"w{len(word.encode())}:".encode() + word.encode())
    for name, path in files:
        digest.update(f"f{len(name.encode())}:".encode() + name.encode() + file_sha256(path).encode())
    return digest.hexdigest()[:_KEY_LENGTH]


@contextlib.contextmanager
def locked(path: Path, *, on_wait: Callable[[], None]) -> Generator[None]:
    """Hold an exclusive lock on `path` between processes. `on_wait` is called once if another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(stream, fcntl.LOCK_EX)
        # The kernel drops the lock when the file is closed, also when the process is killed.
        yield


class Cache:
    """Build outputs under one root folder. `say` receives one line of text for each thing a person may wait for."""

    def __init__(self, root: Path, *, say: Callable[[str], None]) -> None:
        self.root = root
        self._say = say

    def ensure(self, name: str, key: str, build: Callable[[Path], None]) -> Path:
        """The folder of entry (name, key), built by `build(empty folder)` unless a whole one is there already."""
        entry = self.root / name / key
        lock = self.root / "locks" / f"{name}-{key}.lock"
        with locked(lock, on_wait=lambda: self._say(f"{name}: another bootstrap is at it, waiting")):
            if _is_whole(entry):
                return entry
            if entry.exists():
                self._say(f"{name}: the cached copy is damaged, building it again")
                _remove(entry)
            self._build(entry, build)
        return entry

    def find(self, name: str, key: str) -> Path | None:
        """The folder of entry (name, key) if it is there and whole."""
        entry = self.root / name / key
        return entry if _is_whole(entry) else None

    def _build(self, entry: Path, build: Callable[[Path], None]) -> None:
        prefix = f".building-{entry.name}-"
        entry.parent.mkdir(parents=True, exist_ok=True)
        for leftover in entry.parent.glob(prefix + "*"):
            # We hold the lock, so whoever started this one is dead.
            _remove(leftover)
        scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=entry.parent))
        try:
            build(scratch)
            _write_stamp(scratch)
            scratch.rename(entry)
        except BaseException:
            _remove(scratch)
            raise


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink()


def _inventory(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for directory, folders, files in os.walk(folder):
        for name in (*files, *folders):
            path = Path(directory, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[relative] = "link:" + os.readlink(path)
            elif path.is_file() and relative != STAMP_NAME:
                executable = "x" if path.stat().st_mode & 0o100 else "-"
                found[relative] = f"{executable}:{file_sha256(path)}"
    return found


def _write_stamp(folder: Path) -> None:
    stamp = {"format": _STAMP_FORMAT, "files": _inventory(folder)}
    with (folder / STAMP_NAME).open("w", encoding="utf-8") as stream:
        json.dump(stamp, stream, indent=1, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())


def _is_whole(entry: Path) -> bool:
    try:
        stamp = json.loads((entry / STAMP_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return stamp == {"format": _STAMP_FORMAT, "files": _inventory(entry)}
