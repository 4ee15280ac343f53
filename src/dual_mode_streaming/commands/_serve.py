"""`dual-mode serve`: run the service."""

from typing import Annotated

import typer

from dual_mode_streaming.commands._errors import ExitCode, fail, needed


# Numbers are taken as text: Settings checks variables and flags alike, with the same message.
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")
    ] = None,
    port: Annotated[
        str | None, typer.Option(help="Port; 0 for any free port (default: 8000).")
    ] = None,
    workers: Annotated[
        str | None, typer.Option(help="Number of worker processes (default: 1).")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="Store of recordings: memory, sqlite:PATH or redis://HOST (default: memory)."
        ),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="critical, error, warning, info or debug (default: info).")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json (default: text).")] = None,
    heartbeat: Annotated[
        str | None, typer.Option(help="Seconds of silence before a heartbeat (default: 15).")
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            help="Seconds to wait for the first item before the headers are sent (default: 1)."
        ),
    ] = None,
    send_timeout: Annotated[
        str | None,
        typer.Option(help="Seconds a client may stall before it is disconnected (default: 30)."),
    ] = None,
    stream_limit: Annotated[
        str | None, typer.Option(help="Maximum duration of a stream in seconds (default: none).")
    ] = None,
) -> None:
    """Run the service. Each setting is also an environment variable, such as DUAL_MODE_PORT."""
    flags = dict(locals())
    with needed("server"):
        from dual_mode_streaming.server.run import serve as run
        from dual_mode_streaming.server.settings import SettingsError, load
    try:
        run(load(**flags))
    except SettingsError as error:
        fail(str(error), ExitCode.USAGE)
