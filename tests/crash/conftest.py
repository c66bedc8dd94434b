"""The devnet of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.devnet_fixture import Devnet, running_devnet


@pytest.fixture(scope="package")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """One for all tests here, which leave it as they found it; ended before other folders start theirs."""
    with running_devnet(tmp_path_factory.mktemp("crash")) as running:
        yield running
