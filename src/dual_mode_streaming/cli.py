"""The command line, `dual-mode`. It imports what a command needs when the command runs."""

import sys
from typing import Annotated, NoReturn

try:
    import typer
except ImportError:
    sys.exit("dual-mode needs the server extra: pip install 'dual-mode-streaming[server]'")

from dual_mode_streaming.ui.command import ui

__all__ = ["app", "main"]

app = typer.Typer(
    name="dual-mode",
    help="One async generator, answered as batch JSON or as Server-Sent Events.",
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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """One async generator, answered as batch JSON or as Server-Sent Events."""


# Numbers come as text: Settings checks them all, variables and flags alike, with one message.
@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]")] = None,
    port: Annotated[str | None, typer.Option(help="Port; 0 for a free one. [8000]")] = None,
    workers: Annotated[str | None, typer.Option(help="Worker processes. [1]")] = None,
    store: Annotated[str | None, typer.Option(help="Where recordings live. [memory]")] = None,
    log_level: Annotated[
        str | None, typer.Option(help="critical, error, warning, info or debug. [info]")
    ] = None,
    heartbeat: Annotated[
        str | None, typer.Option(help="Idle seconds before a heartbeat. [15]")
    ] = None,
    grace: Annotated[
        str | None, typer.Option(help="Seconds the headers wait for a first item. [1]")
    ] = None,
    send_timeout: Annotated[
        str | None, typer.Option(help="Seconds a reader may take nothing. [30]")
    ] = None,
    stream_limit: Annotated[
        str | None, typer.Option(help="Seconds a stream may last. [no limit]")
    ] = None,
) -> None:
    """Run the service. Every setting is also a variable, such as DUAL_MODE_PORT."""
    try:
        from dual_mode_streaming.server.run import serve as run
        from dual_mode_streaming.server.settings import SettingsError, load
    except ImportError as error:
        _fail(f"{error}; pip install 'dual-mode-streaming[server]'", status=1)
    try:
        settings = load(
            host=host,
            port=port,
            workers=workers,
            store=store,
            log_level=log_level,
            heartbeat=heartbeat,
            grace=grace,
            send_timeout=send_timeout,
            stream_limit=stream_limit,
        )
    except SettingsError as error:
        _fail(str(error), status=2)
    run(settings)


app.command()(ui)


def _fail(message: str, status: int) -> NoReturn:
    typer.echo(f"dual-mode: {message}", err=True)
    raise typer.Exit(status)


def main() -> None:
    """The entry point of the `dual-mode` command."""
    app()


if __name__ == "__main__":
    main()
