"""A short soak; `make soak-streams` is the long one."""

import pytest

from .soak import soak


@pytest.mark.parametrize("seed", [1, 2])
def test_random_pipelines_leave_nothing(seed):
    counts = soak(seconds=2, seed=seed)
    assert counts["pipelines"] > 100
    assert counts["bridges"] >= 5


@pytest.mark.full
@pytest.mark.timeout(300)
def test_random_pipelines_leave_nothing_for_a_minute():
    assert soak(seconds=60, seed=3)["pipelines"] > 2500
