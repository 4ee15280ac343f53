"""`dual-mode doctor`: what is installed, reachable, misconfigured, and whether a proxy buffers."""

import json
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from dual_mode_streaming.commands._checks import Finding, installed, settings
from dual_mode_streaming.commands._errors import Code, manners, needed, shown, write
from dual_mode_streaming.commands._request_options import Header, asked

__all__ = ["doctor"]


def doctor(
    url: Annotated[
        str | None,
        typer.Argument(help="A service of ours, or one stream: is it held back on the way?"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The findings as a list.")] = False,
    header: Header = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.001, help="Seconds of silence to wait for the URL.")
    ] = 10.0,
) -> None:
    """Look for what is missing or wrong; exit code 1 if something cannot work."""
    with manners():
        found = [*_told(installed(), as_json), *_told(settings(), as_json)]
        if url is not None:
            with needed("cli"):
                from dual_mode_streaming.commands._proxy_check import examine
            ask = asked(url, None, None, header)
            found += _told(examine(ask.url, ask.headers, timeout), as_json)
        if as_json:
            write(json.dumps([finding._asdict() for finding in found], ensure_ascii=False) + "\n")
        if any(finding.level == "fail" for finding in found):
            raise SystemExit(int(Code.FAILED))


_COLOURS = {"ok": "green", "note": "cyan", "warn": "yellow", "fail": "red"}


def _told(findings: Iterable[Finding], as_json: bool) -> Iterable[Finding]:
    """Show each as soon as it is known."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        if not as_json:
            said = shown(f"  {finding.what}: {finding.said}", sys.stdout)
            level = (f"{finding.level:4}", _COLOURS[finding.level])
            console.print(Text.assemble(level, said))
            if finding.hint:
                console.print(Text(f"      → {finding.hint}", "dim"))
        yield finding
