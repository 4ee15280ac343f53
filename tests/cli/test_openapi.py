"""`dual-mode openapi` writes the document, which generators of clients read."""

import json


def test_the_document_of_the_service(run):
    plain, profiled = run.all(["openapi"], ["openapi", "--profile", "3.1"])
    assert (plain.code, plain.stderr, profiled.code) == (0, "", 0)
    assert json.loads(plain.stdout)["openapi"] == "3.2.0"
    document = json.loads(profiled.stdout)
    assert document["openapi"] == "3.1.0"
    assert "text/event-stream" in document["paths"]["/chat"]["post"]["responses"]["200"]["content"]
    titles = [schema.get("title") for schema in document["components"]["schemas"].values()]
    assert len(titles) == len(set(titles))


def test_the_document_of_an_app(run):
    answer = run("openapi", "tests.elsewhere.awkward:app", "--profile", "3.1")
    assert "/union" in json.loads(answer.stdout)["paths"]


def test_what_is_wrong_is_said_in_a_line(run):
    wrong = {
        ("--profile", "3.0"): "should be 3.1 or 3.2",
        ("nowhere:app",): "should be an app such as main:app",
        ("json:app",): "should be an app such as main:app",
        ("json",): "should be an app such as main:app",
        ("json:loads",): "is not a FastAPI app",
    }
    answers = run.all(*(["openapi", *each] for each in wrong))
    for done, words in zip(answers, wrong.values(), strict=True):
        assert done.code == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
