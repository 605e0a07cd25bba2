from contextlib import closing
from functools import partial

import pytest

from tests.unit.driven_worker import Worker


@pytest.fixture
def worker():
    """A worker whose stages the test takes one by one."""
    with closing(Worker()) as made:
        yield made


@pytest.fixture
def job(tmp_path, worker):
    return partial(worker.job, tmp_path)
