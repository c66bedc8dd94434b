"""The devnet of this folder, and a model that is served on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.devnet_fixture import Devnet, running_devnet
from tests.crash.models import PublishedModel, infer, publish_model


@pytest.fixture(scope="package")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """One for all faults, each of which leaves it as it found it."""
    with running_devnet(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture(scope="package")
def served(devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> PublishedModel:
    """A model that has answered already."""

    async def publish_and_ask() -> PublishedModel:
        model = await publish_model(devnet, tmp_path_factory.mktemp("served"))
        await infer(devnet, model, "fabric")
        return model

    return devnet.run(publish_and_ask())
