"""The detail of an HTTPException may be anything: its status is told all the same."""

import json
from typing import Any

import pytest
from fastapi import HTTPException

from dual_mode_streaming.sse import dumps
from dual_mode_streaming.web._problems import problem_of

_CIRCLE: list[Any] = []
_CIRCLE.append(_CIRCLE)


@pytest.mark.parametrize(
    "detail",
    ["\ud800", {"a": "\ud800"}, {"a": object()}, {object()}, {("a",): 1}, _CIRCLE, b"\xff"],
    ids=["surrogate", "inside", "object", "set", "key", "circle", "bytes"],
)
def test_a_detail_that_is_no_json_keeps_its_status(detail: Any) -> None:
    problem = problem_of(HTTPException(418, detail))
    assert json.loads(dumps(problem.body))["status"] == 418
