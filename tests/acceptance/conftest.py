"""An instance of the whole service that tests share."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.service import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, make_database: Any) -> Iterator[Service]:
    """An instance that several tests share; none of them ends a door of it."""
    shared = Service(tmp_path_factory.mktemp("service"), make_database())
    shared.start()
    shared.wait_until_ready()
    yield shared
    shared.stop()
