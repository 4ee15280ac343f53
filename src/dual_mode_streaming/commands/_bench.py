"""`dual-mode bench URL`: the time to the first event, between events, and in total."""

import asyncio
import contextlib
import enum
import functools
import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any

import typer

from dual_mode_streaming.commands._errors import (
    ExitCode,
    code_of_status,
    needed,
    one_line_errors,
    printable,
    write,
)
from dual_mode_streaming.commands._request_options import (
    Data,
    Header,
    Method,
    ReadTimeout,
    Url,
    request_from,
)
from dual_mode_streaming.commands._statistics import LoadStatistics


class LoadMode(enum.StrEnum):
    """What the requests ask for."""

    STREAM = "stream"
    LINES = "lines"
    BATCH = "batch"


def bench(
    url: Url,
    connections: Annotated[
        int, typer.Option("-c", "--connections", min=1, max=10_000, help="Number of connections.")
    ] = 10,
    duration: Annotated[
        float, typer.Option("-z", "--duration", min=0.01, help="Duration in seconds.")
    ] = 10.0,
    requests: Annotated[
        int | None,
        typer.Option("-n", "--requests", min=1, help="Stop after this number of requests."),
    ] = None,
    mode: Annotated[LoadMode, typer.Option(help="What to request.")] = LoadMode.STREAM,
    plain: Annotated[
        bool, typer.Option("--plain", help="Accept streams that end without an end event.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the statistics as a JSON object.")
    ] = False,
    method: Method = None,
    data: Data = None,
    header: Header = None,
    timeout: ReadTimeout = 45.0,
) -> None:
    """Send requests over many connections, and print how long the answers took.

    Each connection waits for its answer before it sends the next request, so a slow server
    receives fewer.
    """
    with one_line_errors():
        with needed("cli"):
            from dual_mode_streaming.commands._load import run_load
        request = request_from(url, method, data, header)
        statistics = LoadStatistics()
        load = functools.partial(
            run_load,
            request,
            mode,
            statistics,
            connections=connections,
            seconds=duration,
            requests=requests,
            timeout=timeout,
            end_event=not plain,
        )
        finished = asyncio.run(_measure(load, statistics, duration))
        shown = re.sub("//[^/?#]*@", "//", request.url, count=1)
        report = {"url": shown, "mode": str(mode), "connections": connections}
        report |= statistics.as_json()
        if as_json:
            write(json.dumps(report) + "\n")
        else:
            _table(report)
        if not finished:
            raise SystemExit(int(ExitCode.INTERRUPTED))
        if statistics.errors:
            raise SystemExit(int(_code(statistics.errors.most_common(1)[0][0])))


async def _measure(
    load: Callable[[], Coroutine[Any, Any, None]], statistics: LoadStatistics, seconds: float
) -> bool:
    """Run the load. Return False if Ctrl-C ended it."""
    running = asyncio.create_task(load())
    loop = asyncio.get_running_loop()
    interrupted = False

    def stop(*_: object) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True
        loop.call_soon_threadsafe(running.cancel)

    signal.signal(signal.SIGINT, stop)
    async with _progress(statistics, seconds):
        with contextlib.suppress(asyncio.CancelledError):
            await running
    return not interrupted


@contextlib.asynccontextmanager
async def _progress(statistics: LoadStatistics, seconds: float) -> AsyncIterator[None]:
    """Show the progress in a line on the terminal, if there is one."""
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
                    answers=statistics.total.count,
                    events=statistics.events,
                    errors=statistics.failed,
                    first=_shown(statistics.first.milliseconds()["p50"]),
                )

        drawing = asyncio.create_task(redraw())
        try:
            yield
        finally:
            drawing.cancel()


def _table(report: dict[str, Any]) -> None:
    """Print the statistics as a table, with colours on a terminal only."""
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
        values = report["milliseconds"][name]
        if values["count"]:
            cells = (_shown(values[key]) for key in ("p50", "p95", "p99", "max"))
            table.add_row(title, str(values["count"]), *cells)
    console.print(table)
    text = (
        "{answers} answers ({answers_per_second}/s), {events} events ({events_per_second}/s), "
        "{bytes} bytes in {seconds} s over {connections} connections; {unfinished} unfinished"
    )
    console.print(text.format(**report), markup=False)
    for kind, count in report["errors_by_kind"].items():
        said = printable(f"{count} errors: {kind}", sys.stdout)
        console.print(said, style="red", markup=False)


def _shown(milliseconds: Any) -> str:
    if milliseconds is None:
        return "-"
    return f"{milliseconds:.0f}" if milliseconds >= 1000 else f"{milliseconds:.3g}"


def _code(kind: str) -> ExitCode:
    """Return the exit code for the most common kind of error."""
    if kind == "timeout":
        return ExitCode.TIMEOUT
    if kind.startswith("status "):
        return code_of_status(int(kind[7:10]))
    broken = kind.startswith(("event: ", "the answer broke off"))
    return ExitCode.BROKEN if broken else ExitCode.FAILED
