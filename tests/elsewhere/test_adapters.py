"""Our apps behind adapters (AWS Lambda, WSGI), and WSGI apps in ours, with the real packages."""

from pathlib import Path

import pytest

from tests.environments import document_of, environment

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]  # the environment is to be made first

HERE = Path(__file__).parent
MODES = ["batch", "stream", "lines"]
THREE, BODY, THREADS = [0, 1, 2], ["hello"], [True, True]
EXPECTED = {"three": THREE, "plain": THREE, "body": BODY, "threads": THREADS}


@pytest.fixture(scope="module")
def seen():
    home = environment("middlewares", HERE / "middlewares.txt")
    return document_of([home / "bin" / "python", HERE / "adapters.py"], home)


@pytest.mark.parametrize("adapter", ["mangum", "a2wsgi"])
def test_answers_of_ours_pass_through_in_every_mode(seen, adapter):
    expected = EXPECTED | ({"recorded": THREE} if adapter == "mangum" else {})
    assert seen[adapter] == {
        f"{path} {mode}": items for path, items in expected.items() for mode in MODES
    }


@pytest.mark.parametrize("adapter", ["a2wsgi", "asgiref"])
def test_a_wsgi_app_that_streams_may_be_mounted_in_ours(seen, adapter):
    assert seen["mounted"][adapter] == ["to", "be"]
