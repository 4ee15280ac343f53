"""The ASGI and FastAPI integration: the decorator, the response, and the state of an app."""

from typing import TYPE_CHECKING

from dual_mode_streaming._lazy import lazy_attributes

if TYPE_CHECKING:
    from dual_mode_streaming.web._app_state import AppState, app_state
    from dual_mode_streaming.web._cursors import END_ID
    from dual_mode_streaming.web._options import DEFAULTS, duration_of, resolved_options
    from dual_mode_streaming.web._request_state import RequestState, request_state
    from dual_mode_streaming.web._spec import EndpointSpec, spec_of

__all__ = [
    "DEFAULTS",
    "END_ID",
    "AppState",
    "EndpointSpec",
    "RequestState",
    "app_state",
    "duration_of",
    "request_state",
    "resolved_options",
    "spec_of",
]

_MODULES = {  # loaded on first use
    "AppState": "_app_state",
    "DEFAULTS": "_options",
    "END_ID": "_cursors",
    "EndpointSpec": "_spec",
    "RequestState": "_request_state",
    "app_state": "_app_state",
    "duration_of": "_options",
    "request_state": "_request_state",
    "resolved_options": "_options",
    "spec_of": "_spec",
}

__getattr__ = lazy_attributes(__name__, _MODULES)
