"""`dual-mode record URL FILE`: record a model's API for the simulator."""

from pathlib import Path
from typing import Annotated

import typer

from dual_mode_streaming.commands._errors import (
    ExitCode,
    fail,
    needed,
    note,
    one_line_errors,
    shown_url,
)


def record(
    url: Annotated[
        str, typer.Argument(help="Base URL of the API, such as https://api.openai.com.")
    ],
    file: Annotated[
        Path, typer.Argument(help="Script to append to; the simulator replays it.", dir_okay=False)
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free port.")] = 8010,
) -> None:
    """Pass requests on to a model's API, and record its answers with their timing."""
    with one_line_errors():
        with needed("server"):
            import asyncio
            import contextlib

            import uvicorn

            from dual_mode_streaming.llm.simulator._recorder import Recorder
            from dual_mode_streaming.server.run import SignalledServer, bound
        if not url.startswith(("http://", "https://")):
            fail(
                f"{shown_url(url)}: the URL of an API begins with http:// or https://",
                ExitCode.USAGE,
            )
        try:
            recorder = Recorder(url, file, note)
        except (ValueError, OSError) as error:
            fail(str(error), ExitCode.USAGE)
        config = uvicorn.Config(
            recorder, host=host, port=port, ws="none", lifespan="off", log_level="error"
        )
        try:
            listener = bound(config)
        except OSError as error:
            fail(str(error), ExitCode.USAGE)
        address = f"[{host}]" if ":" in host else host
        note(
            f"Recording {shown_url(url)} on http://{address}:{listener.getsockname()[1]} to {file}"
        )

        async def run() -> None:
            async with contextlib.aclosing(recorder):
                await SignalledServer(config).serve(sockets=[listener])

        asyncio.run(run())
