"""An option that is not there: the message names the one that was meant, or where it belongs."""

import inspect

import pytest
from fastapi import FastAPI

from dual_mode_streaming import DualModeResponse, dual_mode, install
from dual_mode_streaming.web._options import KEYWORDS


async def items():
    yield 1


CALLS = {
    "dual_mode": lambda **options: dual_mode(**options),
    "install": lambda **options: install(FastAPI(), **options),
    "DualModeResponse": lambda **options: DualModeResponse(items(), **options),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("recrod", "did you mean record"),
        ("records", "did you mean record"),
        ("chanels", "did you mean channels"),
        ("heart_beat", "did you mean heartbeat"),
        ("batch_size", "there are|did you mean batch_"),
        ("nonsense", "there are: heartbeat, "),
    ],
)
def test_a_misspelt_option(call, given, meant):
    with pytest.raises(TypeError, match=f"no such option: {given}; ({meant})"):
        call(**{given: 1})


@pytest.mark.parametrize(
    ("function", "option", "owner"),
    [
        ("dual_mode", "store", "install"),
        ("dual_mode", "channels", "install"),
        ("install", "record", "dual_mode"),
        ("install", "fold", "dual_mode"),
        ("DualModeResponse", "record", "dual_mode"),
    ],
)
def test_an_option_of_another_function(function, option, owner):
    with pytest.raises(TypeError, match=f"no such option here: {option} is one of {owner}"):
        CALLS[function](**{option: "memory"})


def test_the_names_are_those_of_the_functions():
    for function in (dual_mode, install):
        given = inspect.signature(function).parameters.values()
        names = {each.name for each in given if each.kind is each.KEYWORD_ONLY}
        assert names == set(KEYWORDS[function.__name__])
