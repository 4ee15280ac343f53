"""The figures as text: for the terminal, and as the tables and the plot of docs/performance.md."""

import math
import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from goals import GOALS, OURS, spread

__all__ = [
    "machine",
    "plot",
    "print_scenario",
    "table_of_goals",
    "table_of_parts",
    "title",
    "write",
]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
PACKAGES = (
    *("fastapi", "starlette", "pydantic", "litestar", "sse-starlette", "uvicorn", "uvloop"),
    *("httptools", "genai-processors", "aiostream", "anyio", "janus"),
)
TITLES = {
    "raw_ready": "raw ASGI, bytes ready",
    "raw_encode": "raw ASGI, encodes each",
    "raw_chunks": "raw ASGI, 256 a send",
    "starlette_fstring": "Starlette, f-strings",
    "litestar_sse": "Litestar",
    "ssestarlette": "sse-starlette",
    "fastapi_native": "FastAPI's own",
    "ours": "**ours**",
    "ours_metrics": "**ours**, with metrics",
    "feed": "**ours**, encoded once",
    "feed_each": "encoded per reader",
}


def title(name: str) -> str:
    return TITLES.get(name, name)


def machine() -> str:
    """Where and with what it was measured."""
    cpu = platform.processor() or platform.machine()
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
        cpu = found[1] if found else cpu
    except OSError:
        pass  # not Linux
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}; {python}; {versions}."


def _cell(values: list[float]) -> str:
    got = spread(values)
    return "never" if math.isnan(got.median) else str(got)


def print_scenario(name: str, figures: dict[str, dict[str, list[float]]]) -> None:
    print(f"\n{name}")
    for figure, of_all in figures.items():
        print(f"  {figure}")
        ours = of_all.get(OURS) or of_all.get("feed")
        for contender, values in of_all.items():
            line = f"    {title(contender).replace('*', ''):26} {_cell(values):>30}"
            if ours and contender != OURS and len(ours) == len(values) and all(ours):
                pairs = zip(values, ours, strict=True)
                line += f"   x ours: {_cell([theirs / mine for theirs, mine in pairs])}"
            print(line, flush=True)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table_of_goals(figures: dict[str, Any], *, plain: bool = False) -> str:
    """Each goal, what was reached, and whether that is enough."""
    rows = []
    for goal in GOALS:
        reached = goal.reached(figures)
        if reached is None:
            continue
        bound = f"{'≥' if goal.at_least else '≤'} {goal.bound:g}"
        verdict = "met" if goal.met(reached) else "MISSED" if plain else "**missed**"
        text = re.sub(r"\{(\w+)\}", lambda name: title(name[1]), goal.text)
        rows.append([text, bound, str(reached), verdict])
    if plain:
        return "\n".join(f"  {v:7} {t:62} {b:>7}   {r}" for t, b, r, v in rows)
    return _table(["goal", "bound", "reached: median [lowest to highest]", ""], rows)


def tables_of_scenarios(figures: dict[str, Any]) -> str:
    """One table a scenario: a row a contender, a column a figure."""
    parts = []
    for scenario, of_scenario in figures.items():
        if scenario in ("operators", "where"):
            continue
        if scenario == "growth":
            parts.append(_growth(of_scenario))
            continue
        names = list(dict.fromkeys(name for of_all in of_scenario.values() for name in of_all))
        names.sort(key=list(TITLES).index)
        rows = [
            [title(name), *(_cell(of_all.get(name, [])) for of_all in of_scenario.values())]
            for name in names
        ]
        parts.append(f"### {scenario.capitalize()}\n\n{_table(['', *of_scenario], rows)}")
    return "\n\n".join(parts)


def _growth(figures: dict[str, Any]) -> str:
    parts = ["### Growth"]
    for figure, by_size in figures.items():
        if not figure.endswith("exponent"):
            sizes = [f"{int(size):,}" for size in by_size]
            parts.append(_table([figure, *sizes], [["", *map(_cell, by_size.values())]]))
    return "\n\n".join(parts)


def table_of_operators(figures: dict[str, Any]) -> str:
    rows = []
    for row, of_row in figures["operators"].items():
        ours = spread(of_row["ratios"]["ours"])
        peers = {peer: spread(r) for peer, r in of_row["ratios"].items() if peer != "ours"}
        best = max(peers, key=lambda peer: peers[peer].median)
        verdict = "met" if ours.median >= of_row["goal"] else "**missed**"
        beside = f"{best} {peers[best]}"
        rows.append([row.replace("|", "/"), f"≥ {of_row['goal']:g}", str(ours), verdict, beside])
    return _table(["", "bound", "ours, x a bare `async for`", "", "the best peer"], rows)


def table_of_parts(figures: dict[str, Any]) -> str:
    """Where the CPU of an event goes."""
    parts = figures["where"]
    rows = [[part, *(f"{parts[k][part]:.2f}" for k in parts)] for part in parts["busy"]]
    rows.append(["in all", *(f"{sum(parts[k].values()):.2f}" for k in parts)])
    return _table(["CPU µs an event", *(f"{kind} stream" for kind in parts)], rows)


def plot(figures: dict[str, Any]) -> str:
    """Bars of what an event costs, of a busy stream and of short ones, as SVG."""
    groups = [
        ("CPU µs an event, busy stream", figures["busy"]["CPU µs an event"]),
        ("CPU µs a request, 20 events", figures["short"]["CPU µs a request"]),
        ("CPU µs an event, 1,000 paced readers", figures["paced"]["CPU µs an event"]),
    ]
    y, parts = 0, []
    for heading, of_all in groups:
        y += 26
        parts.append(f'<text x="8" y="{y}" class="h">{heading}</text>')
        medians = {name: spread(values).median for name, values in of_all.items()}
        longest = max(medians.values())
        for name in sorted(medians, key=lambda name: medians[name]):
            value = medians[name]
            y += 20
            kind = "o" if name.startswith("ours") else "p"
            label, width = title(name).replace("*", ""), 430 * value / longest
            parts.append(
                f'<text x="180" y="{y}" class="l">{label}</text>'
                f'<rect x="188" y="{y - 11}" width="{width:.1f}" height="13" class="{kind}"/>'
                f'<text x="{194 + width:.1f}" y="{y}">{value:.3g}</text>'
            )
        y += 14
    style = (
        "text{font:12px sans-serif;fill:#777}.h{font-weight:bold}.l{text-anchor:end}"
        ".o{fill:#2a7de1}.p{fill:#999}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 {y}" role="img" '
        f'aria-label="What an event costs"><style>{style}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def write(figures: dict[str, Any], about: str) -> None:
    """Put everything into docs/performance.md, between its marks, and draw docs/performance.svg."""
    blocks = {
        "about": about,
        "goals": table_of_goals(figures),
        "where": table_of_parts(figures),
        "scenarios": tables_of_scenarios(figures),
        "operators": table_of_operators(figures),
    }
    text = PAGE.read_text("utf-8")
    for name, block in blocks.items():
        begin, end = f"<!-- bench: {name} -->\n", f"<!-- end: {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise SystemExit(f"{PAGE} has no place for {name}")
        text = f"{before}{begin}\n{block}\n\n{end}{after}"
    PAGE.write_text(text, "utf-8")
    PAGE.with_suffix(".svg").write_text(plot(figures), "utf-8")
