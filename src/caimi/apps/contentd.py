"""The content store process: `python -m caimi.apps.contentd --config FILE`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from caimi.apps.http_server import read_token, serve
from caimi.apps.process import open_observer
from caimi.apps.process_config import HttpConfig, read_config
from caimi.apps.readiness import Check, add_operator_routes
from caimi.bundle.cid import RAW, cid_of
from caimi.ports.content import ContentError
from caimi.storage.content import FolderBlockStore
from caimi.storage.content_server import create_app
from caimi.storage.kubo import KuboBlockStore

__all__ = ["ContentConfig", "main"]

_EMPTY: Final = cid_of(RAW, b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentConfig:
    """Configuration of the content store, read as those of `caimi.apps.process_config`."""

    process: Literal["content"]
    name: str
    http: HttpConfig
    folder: Path
    """Where the blocks are, unless Kubo has them."""
    kubo: str | None = None
    """Address of a Kubo node's RPC: it keeps the blocks, this process is the door to them."""
    token_file: Path
    """Its text without white space around is the bearer token of writers, at least 16 characters."""
    log: Path | None = None
    """JSON lines; None is standard error."""


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="CAIMI content store")
    parser.add_argument("--config", type=Path, required=True)
    config = read_config(ContentConfig, parser.parse_args().config)
    token, observer = read_token(config.token_file), open_observer(config.name, config.log)
    if config.kubo is None:
        folder = FolderBlockStore(config.folder)
        app = create_app(folder, token=token, observer=observer, check_writable=folder.check_writable)
        missing = _what_fails(lambda: asyncio.to_thread(folder.check_writable))
    else:
        kubo = KuboBlockStore(config.kubo)
        app = create_app(kubo, token=token, observer=observer)
        missing = _what_fails(lambda: kubo.has(_EMPTY))
    add_operator_routes(app, observer, missing)
    observer.step("process.started")
    asyncio.run(serve(app, config.http, _for_ever()))


def _what_fails(probe: Callable[[], Awaitable[object]]) -> Check:
    async def missing() -> list[str]:
        try:
            await probe()
        except ContentError as error:
            return [f"{type(error).__name__}: {error}"]
        return []

    return missing


async def _for_ever() -> None:
    # Everything happens when it is asked for.
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
