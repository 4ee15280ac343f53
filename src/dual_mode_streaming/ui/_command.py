"""The command `dual-mode ui`: replaces this process by Streamlit, which serves the chat."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer


def ui(
    url: Annotated[
        str | None,
        typer.Option(help="URL of the service; without it the model is called directly."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port.")] = 8501,
) -> None:
    """Chat in the browser: with the service, or with a model directly."""
    if find_spec("streamlit") is None:
        text = "the chat needs the extra ui: pip install 'dual-mode-streaming[ui]'"
        typer.echo(f"dual-mode: {text}", err=True)
        raise typer.Exit(1)
    environment = os.environ | ({"DUAL_MODE_UI_URL": url} if url else {})
    flags = {
        "server.address": host,
        "server.port": str(port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
    }
    command = [sys.executable, "-m", "streamlit", "run", str(Path(__file__).with_name("_page.py"))]
    command += [f"--{name}={value}" for name, value in flags.items()]
    os.execve(sys.executable, command, environment)  # noqa: S606  (no shell)
