"""The streams in the OpenAPI 3.2 document: `itemSchema` beside `schema`, in one operation.

FastAPI documents the batch from the return annotation of the endpoint. A decorator can change
neither the `responses` of the route nor the version of the document, so the streams are added when
the document is made.
"""

from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import (
    validation_error_definition,
    validation_error_response_definition,
)
from fastapi.routing import iter_route_contexts
from pydantic import TypeAdapter

from dual_mode_streaming.rendering import ItemCodec
from dual_mode_streaming.sse import RESERVED_EVENTS
from dual_mode_streaming.web._options import Options, resolved_options
from dual_mode_streaming.web._output import BatchOf
from dual_mode_streaming.web._problems import MEDIA_TYPE as PROBLEM_MEDIA_TYPE
from dual_mode_streaming.web._spec import EndpointSpec, spec_of
from dual_mode_streaming.web._wire_openapi import describe_wire
from dual_mode_streaming.web.recorded._openapi import (
    ENDS,
    ERRORS,
    LOCATION,
    RESET,
    STATE,
    parameters,
)

_REF: Final = "#/components/schemas/"

PROBLEM_SCHEMA: Final = {
    "title": "Problem",
    "description": "An RFC 9457 problem.",
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 100, "maximum": 599},
        "detail": {"type": "string"},
    },
}
BAD_BODY_SCHEMA: Final = {
    "title": "BadBody",
    "description": "FastAPI could not parse the body.",
    "type": "object",
    "required": ["detail"],
    "properties": {"detail": {"type": "string"}},
}
DONE_SCHEMA: Final = {
    "type": "object",
    "required": ["items"],
    "properties": {"items": {"type": "integer", "minimum": 0}},
}
RESET_SCHEMA: Final = {
    "type": "object",
    "required": ["reason", "requested"],
    "properties": {"reason": {"type": "string"}, "requested": {"type": "string"}},
}
_ERRORS: Final = {
    406: "Nothing that the Accept header names is available.",
    413: "The batch answer would have too many items or bytes; ask for a stream.",
    503: "The server is shutting down, or a buffer of the source was full.",
    504: "The batch answer would take too long; ask for a stream.",
}


def add_streams(document: dict[str, Any], app: FastAPI, defaults: Options) -> None:
    """Add the streams of the dual-mode endpoints of `app` to its document, in place."""
    for context in iter_route_contexts(app.routes):
        spec = spec_of(getattr(context, "endpoint", None))
        path = document["paths"].get(getattr(context, "path_format", None))
        if spec is None or path is None:
            continue
        document["openapi"] = "3.2.0"  # a function of the app may have made an older one
        status = str(getattr(context, "status_code", None) or 200)
        for method in context.methods or ():
            if (operation := path.get(method.lower())) is not None:
                codec = spec.representation_of(context).codec
                _describe_batch(operation, status, context, spec, codec, document)
                _describe(operation, status, spec, codec, defaults, document)
    _make_titles_unique(document.get("components", {}).get("schemas", {}))


def _make_titles_unique(schemas: dict[str, dict[str, Any]]) -> None:
    """Title by its name what has the title of another schema: generators name classes by it."""
    titles = Counter(schema.get("title") for schema in schemas.values())
    for name, schema in schemas.items():
        if titles[schema.get("title")] > 1 and "title" in schema:
            schema["title"] = name


def _describe(
    operation: dict[str, Any],
    status: str,
    spec: EndpointSpec,
    codec: ItemCodec,
    defaults: Options,
    document: dict[str, Any],
) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    problem = _problem(schemas)
    error_event = resolved_options(defaults, spec.options)["error_event"]
    item, events = _item_schemas(codec, schemas)
    frames = [_event(schema, name) for name, schema in events]
    frames.append(_event(DONE_SCHEMA, "done"))
    frames.append(_event(problem, error_event))
    responses = operation["responses"]
    if spec.stream_flag.query is not None:
        _describe_flag(operation, spec.stream_flag.query, schemas)
    if spec.record is not None:
        frames += [_event(schema, name) for name, schema in ENDS.items()]
        frames.append(_event(RESET, "reset"))
        _describe_recorded(operation, status, problem)
    else:
        frames.append(_event(RESET_SCHEMA, "reset"))
    responses.setdefault(
        "204", {"description": "The Last-Event-ID is the id of the end of the stream."}
    )
    content = responses[status].setdefault("content", {})
    content["text/event-stream"] = {"itemSchema": {"oneOf": frames}}
    content["application/jsonl"] = {"itemSchema": item}
    for code, description in _ERRORS.items():
        responses.setdefault(str(code), _problem_response(code, description, problem))
    if "requestBody" in operation and "content" in responses.get("400", {}):
        responses["400"]["content"].setdefault("application/json", {"schema": BAD_BODY_SCHEMA})
    if spec.wire is not None:
        describe_wire(operation, status)
    responses[status]["headers"] = {
        "Vary": {"description": "Includes Accept.", "schema": {"type": "string"}}
    } | responses[status].get("headers", {})


def _describe_batch(
    operation: dict[str, Any],
    status: str,
    route: Any,
    spec: EndpointSpec,
    codec: ItemCodec,
    document: dict[str, Any],
) -> None:
    """Describe the batch as it is sent, whatever `response_model` and `response_class` say of it.

    The body has the items in `data`, and is JSON.
    """
    kind = route.response_class
    media_type = getattr(getattr(kind, "value", kind), "media_type", None)
    responses = operation["responses"]
    if status not in responses:  # the class has a status of its own, as RedirectResponse has
        responses[status] = responses.pop("307", {"description": "Successful Response"})
    content = responses[status].setdefault("content", {})
    if media_type != "application/json":
        content.pop(media_type, None)
    declared = route.response_model is not spec.batch_type
    if spec.representation.fold is not None:
        if "application/json" not in content and route.response_model is not None:
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            content["application/json"] = {"schema": _registered(route.response_model, schemas)}
    elif declared or "application/json" not in content:
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        body = BatchOf[codec.item_type]  # type: ignore[name-defined]
        content["application/json"] = {"schema": _registered(body, schemas)}
    content.setdefault("application/json", {"schema": {}})


def _describe_flag(operation: dict[str, Any], name: str, schemas: dict[str, Any]) -> None:
    """Add the stream flag as a query parameter, and the 422 for an invalid one."""
    flag = {
        "name": name,
        "in": "query",
        "required": False,
        "description": "True for a stream of events, false for one JSON document; "
        "without it the Accept header decides.",
        "schema": {"type": "boolean"},
    }
    declared = operation.setdefault("parameters", [])
    if any((each.get("in"), each.get("name")) == ("query", name) for each in declared):
        return  # a dependency declares it, or the function under another name
    declared.append(flag)
    if operation["responses"].keys().isdisjoint({"422", "4XX", "default"}):  # as FastAPI does
        schemas.setdefault("ValidationError", validation_error_definition)
        schemas.setdefault("HTTPValidationError", validation_error_response_definition)
        invalid = {"schema": {"$ref": f"{_REF}HTTPValidationError"}}
        response = {"description": "Validation Error", "content": {"application/json": invalid}}
        operation["responses"]["422"] = response


def _describe_recorded(operation: dict[str, Any], status: str, problem: dict[str, Any]) -> None:
    """Add the parameters, headers and statuses of recorded streams."""
    responses = operation["responses"]
    operation["parameters"] = [*operation.get("parameters", ()), *parameters()]
    responses[status]["headers"] = LOCATION | responses[status].get("headers", {})
    later = responses.setdefault("202", {"description": "Accepted. The answer comes later."})
    later["headers"] = LOCATION | later.get("headers", {})
    later.setdefault("content", {}).setdefault("application/json", {"schema": STATE})
    for code, description in ERRORS.items():
        error = _problem_response(code, description, problem)
        responses.setdefault(str(code), error).setdefault("content", {}).update(error["content"])


def _problem_response(code: int, description: str, problem: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": f"{HTTPStatus(code).phrase}. {description}",
        "content": {PROBLEM_MEDIA_TYPE: {"schema": problem}},
    }


def _problem(schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a reference to the schema of our errors; the app may have a model of that name."""
    name = "Problem"
    if schemas.get(name, PROBLEM_SCHEMA) != PROBLEM_SCHEMA:
        name = _free_name("Problem-RFC9457-", PROBLEM_SCHEMA, schemas)
    schemas.setdefault(name, dict(PROBLEM_SCHEMA))
    return {"$ref": _REF + name}


def _item_schemas(
    codec: ItemCodec, schemas: dict[str, Any]
) -> tuple[dict[str, Any], list[tuple[str | None, dict[str, Any] | None]]]:
    """Return the schema of an item, and the schemas of its events with their names."""
    if codec.item_type is Any:
        return {}, [(None, None)]
    item = _registered(codec.item_type, schemas)
    choices = {} if codec.tags is None else codec.tags.choices
    events: list[tuple[str | None, dict[str, Any] | None]] = [
        (tag, _registered(member, schemas)) for tag, member in choices.items()
    ]
    return item, events or [(None, item)]


def _event(data: Mapping[str, Any] | None, name: str | None) -> dict[str, Any]:
    """Return the schema of one event: an object of its fields (OpenAPI 3.2, section 4.14.4).

    `data` is None if items may be of any type, so also events with names of their own.
    """
    text: dict[str, Any] = {"type": "string"}
    event: dict[str, Any] = {"type": "string", "not": {"enum": sorted(RESERVED_EVENTS)}}
    if data is not None:
        text |= {"contentMediaType": "application/json", "contentSchema": dict(data)}
        event = {"const": name or "message"}
    fields = {"id": {"type": "string"}, "event": event, "data": text}
    required = ["data"] if name is None else ["event", "data"]
    return {"type": "object", "required": required, "properties": fields}


def _registered(item_type: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a type, and add its models to the components of the document.

    If another schema has the name of a model already, the model gets a new name.
    """
    # Within a list a model is a reference, with the name that pydantic and FastAPI give it.
    schema = TypeAdapter[Any](list[item_type]).json_schema(
        mode="serialization", ref_template=_REF + "{model}"
    )
    definitions: dict[str, Any] = schema.pop("$defs", {})
    renamed = {
        name: _free_name(f"{name}-Item", definition, schemas)
        for name, definition in definitions.items()
        if schemas.get(name, definition) != definition
    }
    for name, definition in definitions.items():
        schemas[renamed.get(name, name)] = _renamed(definition, renamed)
    result: dict[str, Any] = _renamed(schema["items"], renamed)
    return result


def _free_name(name: str, definition: Any, schemas: Mapping[str, Any]) -> str:
    """Return a name under which there is no other schema."""
    number = 1
    while schemas.get(f"{name}{number}", definition) != definition:
        number += 1
    return f"{name}{number}"


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    """Return the schema with its references changed to the new names, also those of a mapping."""
    if isinstance(schema, dict):
        return {key: _renamed(value, names) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_renamed(part, names) for part in schema]
    if isinstance(schema, str) and schema.startswith(_REF):
        return _REF + names.get(schema.removeprefix(_REF), schema.removeprefix(_REF))
    return schema
