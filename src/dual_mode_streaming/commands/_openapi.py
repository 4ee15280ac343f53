"""`dual-mode openapi`: the OpenAPI document of the service, or of an app of one's own."""

import importlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dual_mode_streaming.commands._errors import ExitCode, fail, needed, one_line_errors, write


def openapi(
    app: Annotated[
        str | None,
        typer.Argument(help="An app with install(), such as main:app (default: the service)."),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="3.2, or 3.1 for generators that refuse 3.2.")
    ] = "3.2",
) -> None:
    """Write the OpenAPI document of the service, or of an app of your own."""
    with one_line_errors():
        with needed("server"):
            from dual_mode_streaming.web._openapi_profile import version_of, wanting
        if (version := version_of(profile)) is None:
            fail(f"--profile={profile}: should be 3.1 or 3.2", ExitCode.USAGE)
        found = _service() if app is None else _imported(app)
        with wanting(version):
            document = found.openapi()
        write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


def _service() -> Any:
    with needed("server"):
        from dual_mode_streaming.server.app import create_app
        from dual_mode_streaming.server.settings import load
    return create_app(load())


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        app = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        fail(f"{name}: should be an app such as main:app ({error})", ExitCode.USAGE)
    if not callable(getattr(app, "openapi", None)):
        fail(f"{name}: it is not a FastAPI app", ExitCode.USAGE)
    return app
