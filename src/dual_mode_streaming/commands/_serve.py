"""`dual-mode serve`: the service."""

from typing import Annotated

import typer

from dual_mode_streaming.commands._errors import Code, fail, needed

__all__ = ["serve"]


# Numbers come as text: Settings checks them all, variables and flags alike, with one message.
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]")] = None,
    port: Annotated[str | None, typer.Option(help="Port; 0 for a free one. [8000]")] = None,
    workers: Annotated[str | None, typer.Option(help="Worker processes. [1]")] = None,
    store: Annotated[str | None, typer.Option(help="Where recordings live. [memory]")] = None,
    log_level: Annotated[
        str | None, typer.Option(help="critical, error, warning, info or debug. [info]")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json. [text]")] = None,
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
    with needed("server"):
        from dual_mode_streaming.server.run import serve as run
        from dual_mode_streaming.server.settings import SettingsError, load
    try:
        settings = load(
            host=host,
            port=port,
            workers=workers,
            store=store,
            log_level=log_level,
            log_format=log_format,
            heartbeat=heartbeat,
            grace=grace,
            send_timeout=send_timeout,
            stream_limit=stream_limit,
        )
    except SettingsError as error:
        fail(str(error), Code.USAGE)
    run(settings)
