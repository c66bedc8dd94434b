"""The content store process: `python -m caimi.apps.contentd --config FILE`."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from caimi.apps.http_server import read_token, serve
from caimi.apps.process import open_observer
from caimi.apps.process_config import HttpConfig, read_config
from caimi.apps.readiness import add_operator_routes
from caimi.ports.content import ContentError
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
    log: Path | None = None
    """JSON lines; None is standard error."""


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="CAIMI content store")
    parser.add_argument("--config", type=Path, required=True)
    config = read_config(ContentConfig, parser.parse_args().config)
    store, observer = FolderBlockStore(config.folder), open_observer(config.name, config.log)
    app = create_app(store, token=read_token(config.token_file), observer=observer, check_writable=store.check_writable)

    async def missing() -> list[str]:
        try:
            store.check_writable()
        except ContentError as error:
            return [f"{type(error).__name__}: {error}"]
        return []

    add_operator_routes(app, observer, missing)
    observer.step("process.started")
    asyncio.run(serve(app, config.http, _for_ever()))


async def _for_ever() -> None:
    # Everything happens when it is asked for.
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
