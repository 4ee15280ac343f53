"""`dual-mode doctor`: check the installation, the settings, and a service behind its proxy."""

import json
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from dual_mode_streaming.commands._checks import CheckResult, installed, settings
from dual_mode_streaming.commands._errors import ExitCode, needed, one_line_errors, printable, write
from dual_mode_streaming.commands._request_options import Header, ReadTimeout, request_from


def doctor(
    url: Annotated[
        str | None,
        typer.Argument(
            help="URL of a service or of one stream, to check whether a proxy buffers it."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as a JSON list.")
    ] = False,
    header: Header = None,
    timeout: ReadTimeout = 10.0,
) -> None:
    """Check the installation, the settings and a URL. Exit with 1 if something cannot work."""
    with one_line_errors():
        results = [*_shown(installed(), as_json), *_shown(settings(), as_json)]
        if url is not None:
            with needed("cli"):
                from dual_mode_streaming.commands._proxy_check import check_url
            request = request_from(url, None, None, header)
            results += _shown(check_url(request.url, request.headers, timeout), as_json)
        if as_json:
            write(json.dumps([result._asdict() for result in results], ensure_ascii=False) + "\n")
        if any(result.level == "fail" for result in results):
            raise SystemExit(int(ExitCode.FAILED))


_COLOURS = {"ok": "green", "note": "cyan", "warn": "yellow", "fail": "red"}


def _shown(results: Iterable[CheckResult], as_json: bool) -> Iterable[CheckResult]:
    """Print each result as soon as it is there, unless all are printed as JSON."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for result in results:
        if not as_json:
            said = printable(f"  {result.what}: {result.said}", sys.stdout)
            level = (f"{result.level:4}", _COLOURS[result.level])
            console.print(Text.assemble(level, said))
            if result.hint:
                console.print(Text(printable(f"      → {result.hint}", sys.stdout), "dim"))
        yield result
