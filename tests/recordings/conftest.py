"""Fixtures: a store of each kind, and an app on it."""

import pytest

from tests.stores.conftest import redis_server  # noqa: F401

from .stage import Stage, Stores, running


@pytest.fixture(
    params=[
        "memory",
        pytest.param("sqlite", marks=pytest.mark.full),
        pytest.param("redis", marks=pytest.mark.full),
    ]
)
def kind(request):
    return request.param


@pytest.fixture
def stores(request, kind, tmp_path):
    redis = request.getfixturevalue("redis_server") if kind == "redis" else None
    return Stores(kind, tmp_path, redis)


@pytest.fixture
async def stage(stores):
    return Stage(store=stores.open())


@pytest.fixture
async def http(stage):
    async with running(stage.app) as client:
        yield client
