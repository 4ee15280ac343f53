"""Checks of an app's routes, when it starts: what would go wrong without a word."""

import inspect
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts

from dual_mode_streaming.limits import Admission
from dual_mode_streaming.web._output import check_route
from dual_mode_streaming.web._signatures import described, layers
from dual_mode_streaming.web._spec import EndpointSpec, all_specs, spec_of
from dual_mode_streaming.web._validation import bound_errors
from dual_mode_streaming.web.recorded._operation import operation_name


def check_routes(app: FastAPI) -> None:
    """Warn of reversed decorators, and of dependencies that end before the generator does.

    The validation errors of every route are bounded (see `bound_errors`).

    The routes of included routers and of mounted apps are checked, too. Raises TypeError if a route
    declares an output that cannot be (see `check_route`).
    """
    contexts = tuple(_contexts(app.routes))
    served = [spec for context in contexts if (spec := spec_of(context.endpoint)) is not None]
    decorated = all_specs()
    for context in contexts:
        spec, endpoint = spec_of(context.endpoint), context.endpoint
        name = operation_name(context.methods, context.path or "")
        dependant: Dependant | None = getattr(context, "dependant", None)
        bound_errors(dependant)
        if dependant is not None and not getattr(context.original_route, "is_guarded", False):
            _check_guard(name, dependant)
        if spec is None:
            if _is_of(endpoint, decorated) and not _is_of(endpoint, served):
                _warn(
                    f"dual_mode: {name} serves {_name(endpoint)} undecorated: the decorators are"
                    " in the wrong order; put @dual_mode below the decorator of the route"
                )
            continue
        check_route(context, spec.output)
        for parameter, dependency, scope in _ending(dependant):
            value = (
                f"dual_mode: the value of {_name(dependency)} (parameter {parameter!r} of {name})"
            )
            if scope == "function":
                reason = f'{value} has ended when the generator starts: remove scope="function"'
            elif spec.record is not None:
                reason = f"{value} ends with its request, the recorded generator goes on"
            else:
                continue
            _warn(
                f"{reason}; open it in the generator. If the generator does not use it,"
                " name it in `dependencies=[...]` of the route, or ignore this warning with"
                ' warnings.filterwarnings("ignore", message="dual_mode: the value of")'
            )


def _check_guard(name: str, dependant: Dependant) -> None:
    """Warn of an admission that comes after the body it should protect from."""
    every = [*_all(dependant)]
    if any(each.body_params for each in every):
        for each in every:
            if isinstance(getattr(each.call, "__self__", None), Admission):
                _warn(
                    f"dual_mode: {name} parses its body before it asks {_name(each.call)}, so that"
                    " anybody can have it parsed; use APIRouter(route_class=guarded_route(…)) of"
                    " dual_mode_streaming.limits"
                )


def _is_of(endpoint: Any, specs: Iterable[EndpointSpec]) -> bool:
    if isinstance(endpoint, staticmethod):
        endpoint = endpoint.__func__
    return any(spec.function == endpoint for spec in specs)


def _contexts(routes: Iterable[Any]) -> Iterator[RouteContext]:
    for context in iter_route_contexts(list(routes)):
        yield context
        yield from _contexts(getattr(context.original_route, "routes", None) or ())


def _ending(dependant: Dependant | None) -> Iterator[tuple[str, Any, str]]:
    """Yield each dependency with `yield` that a parameter of the endpoint depends on.

    A dependency of the route, of a router or of the app has no parameter: the generator does not
    get its value.
    """
    for of_parameter in () if dependant is None else dependant.dependencies:
        if of_parameter.name is not None:
            for each in _all(of_parameter):
                if _has_yield(each.call):
                    yield of_parameter.name, each.call, each.scope or "request"


def _all(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for each in dependant.dependencies:
        yield from _all(each)


def _has_yield(call: Any) -> bool:
    return any(
        inspect.isgeneratorfunction(layer) or inspect.isasyncgenfunction(layer)
        for layer in layers(call)
    )


def _name(function: Any) -> str:
    return str(described(function)["__qualname__"])


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)
