"""A short run of the chaos on each store; `make chaos` is the long one."""

import pytest

from .chaos import STORES, run
from .front_ends import FRONT_ENDS, answer_to


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", STORES)
async def test_a_short_run_finds_nothing(store, capsys):
    is_well = await run(40, 10**9, seed=3, stores=[store])
    told = capsys.readouterr().out
    assert is_well, told
    for what in ("reset", "channel", "front_end", "items"):
        assert what in told


@pytest.mark.full
def test_the_front_ends_ask_for_the_text_that_they_expect():
    assert len({kind("x").request()["url"] for kind in FRONT_ENDS}) == len(FRONT_ENDS)


async def test_the_model_says_the_same_each_time():
    assert await answer_to("Tell me.") == await answer_to("Tell me.") != ""
