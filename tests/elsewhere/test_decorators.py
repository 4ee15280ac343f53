"""Decorators of other libraries above and below ours, with the real packages."""

from pathlib import Path

import pytest

from tests.environments import document_of, environment

HERE = Path(__file__).parent


@pytest.mark.full
@pytest.mark.timeout(300)  # the environment is to be made first
def test_endpoints_that_others_decorate_too():
    home = environment("decorators", HERE / "decorators.txt")
    seen = document_of([home / "bin" / "python", HERE / "decorated.py"], home)
    recorded = seen.pop("/recorded")
    assert recorded[:2] == [{"data": ["u2"]}, 200]
    assert seen == {
        "/view": [{"data": ["u2"]}, 200, ["n", "stream", "tenant"]],
        "/limited-above": [{"data": [1]}, 429, ["stream"]],
        "/limited-below": [{"data": [1]}, 429, ["stream"]],
        "/relayed": [{"data": [2]}, 200, ["n", "stream"]],
        "/awaited": [{"data": [2]}, 200, ["n", "stream"]],
    }
