"""The command line, `dual-mode`. A command imports what it needs when it runs."""

import sys
from typing import Annotated

try:
    import typer
except ImportError:
    sys.exit("dual-mode needs the cli extra: pip install 'dual-mode-streaming[cli]'")

from dual_mode_streaming.commands._bench import bench
from dual_mode_streaming.commands._chat import chat
from dual_mode_streaming.commands._doctor import doctor
from dual_mode_streaming.commands._get import get
from dual_mode_streaming.commands._openapi import openapi
from dual_mode_streaming.commands._publish import publish
from dual_mode_streaming.commands._record import record
from dual_mode_streaming.commands._serve import serve
from dual_mode_streaming.commands._stream import stream
from dual_mode_streaming.commands._watch import watch
from dual_mode_streaming.ui._command import ui

__all__ = ["app", "main"]

app = typer.Typer(
    name="dual-mode",
    help="Serve, read and measure dual-mode endpoints: batch JSON or Server-Sent Events.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("dual-mode-streaming"))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Serve, read and measure dual-mode endpoints: batch JSON or Server-Sent Events."""


for _command in (serve, chat, stream, get, publish, watch, bench, doctor, record, openapi, ui):
    app.command()(_command)


def main() -> None:
    """The entry point of the `dual-mode` command."""
    app()


if __name__ == "__main__":
    main()
