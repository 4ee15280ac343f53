"""Ours beside its peers: over HTTP, and the operators; the goals, and whether they are met.

    python benchmarks/bench.py [--quick] [--rounds 3] [--only busy] [--write] [--json FILE]

Each contender (contenders/) is a server in a process of its own: one uvicorn worker with uvloop and
httptools. The load comes from this process. Contenders take turns within a round; a ratio is made
of two figures of one round; the tables give the median, and in brackets the lowest and highest.
`--write` puts all of it into docs/performance.md. `--from FILE` takes the figures of an earlier
run.
"""

import argparse
import datetime
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import goals
import operators
import report
import scenarios
import uvloop
from scenarios import Figures, Plan
from where import add_the_rest, where

PEERS = ["starlette_fstring", "litestar_sse", "ssestarlette", "fastapi_native"]
ALL = ["raw_ready", "raw_encode", "raw_chunks", *PEERS, "ours", "ours_metrics"]
FEW = ["raw_encode", "raw_chunks", "fastapi_native", "ours"]
PATHS = {
    "idle": "/stream?n=-1000000",
    "paced": "/stream?n=-50",
    "busy": f"/stream?n={scenarios.FOR_EVER}",
}


def programme(plan: Plan, quick: bool) -> dict[str, Callable[[], Awaitable[Figures]]]:
    """The scenarios by name. Those with crowds take long, and so fewer rounds."""
    names = FEW if quick else ALL
    crowds = Plan(min(plan.rounds, 1 if quick else 2), plan.share, plan.readers, plan.client)
    by_event = [name for name in names if name != "raw_chunks"]  # which would hold events back
    vanishing = ["ours"] if quick else by_event
    json_peer = ["fastapi_native", "ours"]
    all_of_them: dict[str, Callable[[], Awaitable[Figures]]] = {
        "busy": lambda: scenarios.busy(names, plan),
        "short": lambda: scenarios.short(names, plan),
        "paced": lambda: scenarios.paced(by_event, crowds),
        "wait": lambda: scenarios.wait(by_event, plan),
        "vanish idle": lambda: scenarios.vanish(vanishing, PATHS["idle"]),
        "vanish paced": lambda: scenarios.vanish(vanishing, PATHS["paced"]),
        "vanish busy": lambda: scenarios.vanish(vanishing, PATHS["busy"]),
        "batch of 20": lambda: scenarios.batch(json_peer, plan, 20),
        "batch of 1000": lambda: scenarios.batch(json_peer, plan, 1000),
        "feed, 64 at a time": lambda: scenarios.feed(crowds, 64),
        "feed, one at a time": lambda: scenarios.feed(crowds, 1),
        "growth": lambda: scenarios.growth(plan),
    }
    for name in ("feed, one at a time", "growth") if quick else ():
        del all_of_them[name]
    return all_of_them


async def over_http(plan: Plan, options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    parts = {} if options.only else await where()
    for name, run in programme(plan, options.quick).items():
        if options.only and options.only not in name:
            continue
        figures[name] = await run()
        if name == "growth":
            for what, figure in list(zip(("events", "readers"), figures[name], strict=True)):
                exponent = goals.slope(figures[name][figure])
                figures[name][f"{what}, exponent"] = {goals.OURS: [exponent]}
        report.print_scenario(name, figures[name])
    if parts:
        whole = (min(figures[name]["CPU µs an event"][goals.OURS]) for name in ("busy", "paced"))
        add_the_rest(parts, *whole)
        figures["where"] = parts
    return figures


def of_operators(rounds: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, case in operators.cases().items():
        for loop in ("asyncio",) if case.in_thread else operators.LOOPS:
            ratios = operators.measure(loop, case, rounds)
            figures[f"{name} | {loop}"] = {"goal": case.goal, "ratios": ratios}
    return figures


def about(plan: Plan, took: float) -> str:
    when = datetime.datetime.now(datetime.UTC).date()
    share = "nothing worth measuring"
    if plan.client:
        most, median = max(plan.client), statistics.median(plan.client)
        share = f"{most:.0%} of a core at the most (median {median:.0%})"
    return (
        f"{when}; {report.machine()} {plan.rounds} rounds in {took / 60:.0f} minutes. "
        f"The load client used {share}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer peers, shorter runs")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--only", help="scenarios whose name contains this, or `operators`")
    parser.add_argument("--write", action="store_true", help="docs/performance.md, anew")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--from", type=Path, dest="earlier", help="take the figures of this file")
    options = parser.parse_args()

    plan = Plan(options.rounds or (2 if options.quick else 3), 0.4 if options.quick else 1.0)
    if options.earlier:
        saved = json.loads(options.earlier.read_text("utf-8"))
        figures, told = saved["figures"], saved["about"]
    else:
        start = time.monotonic()
        figures = uvloop.run(over_http(plan, options))
        if not options.quick and (not options.only or options.only in "operators"):
            figures["operators"] = of_operators(min(plan.rounds, 2))
        told = about(plan, time.monotonic() - start)
    print(f"\n{told}\n\n{report.table_of_goals(figures, plain=True)}")
    if "operators" in figures:
        print(f"\n{report.table_of_operators(figures)}")
    if options.json:
        saved = {"about": told, "figures": figures}
        options.json.write_text(json.dumps(saved, indent=1), "utf-8")
    if options.write:
        report.write(figures, told)


if __name__ == "__main__":
    main()
