"""The OpenAPI document as 3.1, for generators that refuse 3.2."""

import copy
import json
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator, OpenAPIV32SpecValidator, validate
from pydantic import BaseModel

from dual_mode_streaming import dual_mode, install

from .test_openapi import GENERATORS, app_of, content_of, items, one


def as_asked(app: FastAPI, profile: str | None) -> dict[str, Any]:
    answer = TestClient(app).get("/openapi.json", params={"profile": profile} if profile else {})
    assert answer.status_code == 200
    return answer.json()


def renamed(text: str) -> str:
    return text.replace('"itemSchema"', '"schema"').replace('"3.2.0"', '"3.1.0"')


@pytest.mark.parametrize("fold", [None, one])
@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("function", GENERATORS)
def test_it_is_valid_and_the_same_but_for_the_word(function, record, fold):
    app = app_of(function, record=record, fold=fold)
    document = as_asked(app, "3.1")
    validate(document, cls=OpenAPIV31SpecValidator)
    assert document["openapi"] == "3.1.0"
    assert "itemSchema" not in json.dumps(document)
    whole = as_asked(app, None)
    assert document == json.loads(renamed(json.dumps(whole)))
    assert whole == as_asked(app, "3.2") == app.openapi()
    validate(whole, cls=OpenAPIV32SpecValidator)


def test_an_app_may_have_it_by_default():
    app = FastAPI()
    install(app, openapi="3.1")
    app.get("/")(dual_mode(items))
    assert as_asked(app, None) == as_asked(app, "3.1") == app.openapi()
    assert app.openapi()["openapi"] == "3.1.0"
    assert as_asked(app, "3.2")["openapi"] == "3.2.0"
    app.get("/later")(dual_mode(items))
    assert "text/event-stream" in content_of(app.openapi(), "/later")


@pytest.mark.parametrize("version", ["3.0", "3.1.0", "", None, 3.1])
def test_another_version_is_refused_at_start(version):
    with pytest.raises(ValueError, match=r"openapi must be one of 3\.1, 3\.2"):
        install(FastAPI(), openapi=version)


@pytest.mark.parametrize("profile", ["3.0", "3.1.0", "", "x"])
def test_another_profile_is_refused(profile):
    answer = TestClient(app_of(items)).get(f"/openapi.json?profile={profile}")
    assert answer.status_code == 400
    assert answer.json()["detail"] == "profile must be one of 3.1, 3.2"


def test_a_name_of_the_app_s_own_is_left_alone():
    class Odd(BaseModel):
        itemSchema: int
        schema_: int = 1

    app = app_of(items)
    extra = {"content": {"application/json": {"example": {"itemSchema": 1}}}}
    app.post("/odd", openapi_extra={"requestBody": extra})(lambda: None)

    @app.get("/model")
    def model() -> Odd:
        return Odd(itemSchema=1)

    document = as_asked(app, "3.1")
    assert "itemSchema" in document["components"]["schemas"]["Odd"]["properties"]
    body = document["paths"]["/odd"]["post"]["requestBody"]["content"]["application/json"]
    assert body["example"] == {"itemSchema": 1}


def test_the_document_is_not_changed_by_the_question():
    app = app_of(items)
    before = copy.deepcopy(app.openapi())
    as_asked(app, "3.1")
    assert app.openapi() == before


@pytest.mark.parametrize("url", ["/openapi.json", "/api/v1/document.json", None])
def test_it_is_where_the_app_has_its_document(url):
    app = FastAPI(openapi_url=url)
    install(app)
    app.get("/")(dual_mode(items))
    outer = FastAPI()
    outer.mount("/inner", app)
    http = TestClient(app, root_path="/base")
    if url is None:
        assert http.get("/openapi.json").status_code == 404
        return
    document = http.get(url, params={"profile": "3.1"}).json()
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": "/base"}]
    inner = TestClient(outer).get(f"/inner{url}", params={"profile": "3.1"}).json()
    assert inner["openapi"] == "3.1.0"


def test_the_app_may_have_a_route_of_its_own_there():
    app = app_of(items)
    app.router.routes.insert(0, FastAPI(openapi_url="/other.json").router.routes[0])
    assert as_asked(app, "3.1")["openapi"] == "3.1.0"
