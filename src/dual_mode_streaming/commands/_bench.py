"""`dual-mode bench URL`: how long until the first event, between events, and in all."""

import asyncio
import contextlib
import enum
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer

from dual_mode_streaming.commands._errors import Code, manners, needed, write
from dual_mode_streaming.commands._request_options import Data, Header, Method, Silence, Url, asked
from dual_mode_streaming.commands._statistics import Figures

__all__ = ["Mode", "bench"]


class Mode(enum.StrEnum):
    """What is asked for."""

    STREAM = "stream"
    LINES = "lines"
    BATCH = "batch"


def bench(
    url: Url,
    connections: Annotated[
        int, typer.Option("-c", "--connections", min=1, max=10_000, help="How many at a time.")
    ] = 10,
    duration: Annotated[
        float, typer.Option("-z", "--duration", min=0.01, help="Seconds to go on for.")
    ] = 10.0,
    requests: Annotated[
        int | None, typer.Option("-n", "--requests", min=1, help="End after so many.")
    ] = None,
    mode: Annotated[Mode, typer.Option(help="What to ask for.")] = Mode.STREAM,
    plain: Annotated[
        bool, typer.Option("--plain", help="A stream may end without an event that says so.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as an object.")] = False,
    method: Method = None,
    data: Data = None,
    header: Header = None,
    timeout: Silence = 45.0,
) -> None:
    """Ask again and again over many connections, and tell how long it took.

    Each connection asks again when it has its answer: a server that is slow is asked less often.
    """
    with manners():
        with needed("cli"):
            import httpx  # noqa: F401
        ask = asked(url, method, data, header)
        figures = Figures()
        settings: dict[str, Any] = {
            "connections": connections,
            "seconds": duration,
            "requests": requests,
            "timeout": timeout,
            "ends": not plain,
        }
        whole = asyncio.run(_measure(ask, mode, figures, settings))
        told = {"url": ask.url, "mode": str(mode), "connections": connections} | figures.as_json()
        if as_json:
            write(json.dumps(told) + "\n")
        else:
            _table(told)
        if not whole:
            raise SystemExit(int(Code.INTERRUPTED))
        if figures.errors:
            raise SystemExit(int(_code(figures.errors.most_common(1)[0][0])))


async def _measure(ask: Any, mode: str, figures: Figures, settings: dict[str, Any]) -> bool:
    """Whether it went on to its end; Ctrl-C ends it earlier."""
    from dual_mode_streaming.commands._load import run_load

    running = asyncio.create_task(run_load(ask, mode, figures, **settings))
    loop = asyncio.get_running_loop()
    interrupted = False

    def stop(*_: object) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True
        loop.call_soon_threadsafe(running.cancel)

    signal.signal(signal.SIGINT, stop)
    async with _live(figures, settings["seconds"]):
        with contextlib.suppress(asyncio.CancelledError):
            await running
    return not interrupted


@contextlib.asynccontextmanager
async def _live(figures: Figures, seconds: float) -> AsyncIterator[None]:
    """A line on the terminal that tells how far it is; nothing where there is none."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    words = "{task.fields[answers]} answers, {task.fields[events]} events, {task.fields[errors]} "
    words += "errors; first event p50 {task.fields[first]}"
    columns = (BarColumn(20), TimeElapsedColumn(), TextColumn(words))
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=seconds, answers=0, events=0, errors=0, first="-")

        async def redraw() -> None:
            while True:
                await asyncio.sleep(0.1)
                progress.update(
                    task,
                    completed=time.monotonic() - start,
                    answers=figures.total.count,
                    events=figures.events,
                    errors=figures.failed,
                    first=_shown(figures.first.milliseconds()["p50"]),
                )

        drawing = asyncio.create_task(redraw())
        try:
            yield
        finally:
            drawing.cancel()


def _table(told: dict[str, Any]) -> None:
    """The figures for eyes: a table, with colours on a terminal only."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    rows = {"first event": "first_event", "between events": "between_events", "total": "total"}
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    table.add_column("milliseconds")
    for name in ("count", "p50", "p95", "p99", "max"):
        table.add_column(name, justify="right")
    for title, name in rows.items():
        values = told["milliseconds"][name]
        if values["count"]:
            cells = (_shown(values[f"{key}"]) for key in ("p50", "p95", "p99", "max"))
            table.add_row(title, str(values["count"]), *cells)
    console.print(table)
    console.print(
        f"{told['answers']} answers ({told['answers_per_second']}/s), {told['events']} events "
        f"({told['events_per_second']}/s), {told['bytes']} bytes in {told['seconds']} s over "
        f"{told['connections']} connections; {told['unfinished']} unfinished",
        markup=False,
    )
    for kind, count in told["errors_by_kind"].items():
        console.print(f"{count} errors: {kind}", style="red", markup=False)


def _shown(milliseconds: Any) -> str:
    if milliseconds is None:
        return "-"
    return f"{milliseconds:.0f}" if milliseconds >= 1000 else f"{milliseconds:.3g}"


def _code(kind: str) -> Code:
    """The exit code for the kind of error that there were most of."""
    if kind == "timeout":
        return Code.TIMEOUT
    status = kind.removeprefix("status ")[:1]
    if kind.startswith("status "):
        return {"4": Code.REFUSED, "5": Code.SERVER}.get(status, Code.FAILED)
    return Code.BROKEN if kind.startswith(("event: ", "the answer broke off")) else Code.FAILED
