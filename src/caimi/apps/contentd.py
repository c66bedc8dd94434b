"""The content store process: `python -m caimi.apps.contentd --config FILE`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from granian.constants import Interfaces
from granian.server.embed import Server

from caimi.apps.process_config import HttpConfig, read_config
from caimi.storage.content import FolderBlockStore
from caimi.storage.content_server import create_app

__all__ = ["ContentConfig", "main"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentConfig:
    """Configuration of the content store, read as those of `caimi.apps.process_config`."""

    process: Literal["content"]
    name: str
    http: HttpConfig
    folder: Path
    """Where the blocks are."""
    token_file: Path
    """Its text without white space around is the bearer token of writers, at least 16 characters."""


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="CAIMI content store")
    parser.add_argument("--config", type=Path, required=True)
    config = read_config(ContentConfig, parser.parse_args().config)
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(_serve(config))


async def _serve(config: ContentConfig) -> None:
    store = FolderBlockStore(config.folder)
    app = create_app(store, token=config.token_file.read_text().strip(), check_writable=store.check_writable)
    server = Server(
        app,
        address=config.http.host,
        port=config.http.port,
        interface=Interfaces.ASGINL,
        websockets=False,
        log_enabled=False,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.serve()


if __name__ == "__main__":
    main()
