"""Every test draws the same numbers whenever and wherever it runs."""

import sys
from collections.abc import Iterator

import pytest


def _seed() -> None:
    keras = sys.modules.get("keras")
    if keras is not None:
        keras.utils.set_random_seed(20)


@pytest.fixture(autouse=True, scope="module")
def _seeded_module() -> Iterator[None]:
    _seed()
    yield


@pytest.fixture(autouse=True)
def _seeded_test() -> Iterator[None]:
    _seed()
    yield
