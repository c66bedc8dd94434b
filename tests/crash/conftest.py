"""The devnet of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.devnet_fixture import Devnet, running_devnet


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """One real devnet for all tests of a module: Fabric, Ethereum, content store, four validators, relay."""
    with running_devnet(tmp_path_factory.mktemp("crash")) as running:
        yield running
