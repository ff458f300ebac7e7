"""One process for all tests of this folder that start others."""

import pytest

from tests.trainers.loop.processes import Zygote


@pytest.fixture(scope="session")
def zygote(tmp_path_factory):
    zygote = Zygote(tmp_path_factory.mktemp("zygote"))
    yield zygote
    zygote.close()
