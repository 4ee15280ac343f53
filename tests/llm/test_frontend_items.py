"""What a generator yields in the wire formats of front ends, in every order: the frames are true.

The validators of the protocols read the same lists in `make test-full`.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from dual_mode_streaming.llm import EventType, StreamEvent, ToolResult
from dual_mode_streaming.llm.wire import AGUI, UIMessageStream
from tests.environments import environment

from .test_frontends import ANSWER, END, ERROR, RESULT, WHOLE, call, chunks_of, kinds, text

PINS = Path(__file__).parent / "frontends" / "agui.txt"
OPEN = [
    text("Well."),
    call(EventType.TOOL_CALL_START, id="c1", name="pay"),
    call(EventType.TOOL_CALL_DELTA, arguments="{}"),
]
CALL = [*OPEN, call(EventType.TOOL_CALL_END)]
CALLS_TOOLS = END.model_copy(update={"finish_reason": "tool_calls"})
STATE = [
    {"type": "STEP_STARTED", "stepName": "plan"},
    {"type": "STATE_SNAPSHOT", "snapshot": {"cups": 1}},
    {"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/cups", "value": 2}]},
    {"type": "STEP_FINISHED", "stepName": "plan"},
]
ASKS = {
    "type": "RUN_FINISHED",
    "outcome": {"type": "interrupt", "interrupts": [{"id": "i1", "reason": "approval"}]},
}
RUN = {"threadId": "t", "runId": "r"}
OTHERS = [  # a whole run of another server, with the ids that it gave
    {"type": "RUN_STARTED", "threadId": "x", "runId": "y", "timestamp": None},
    {"type": "TEXT_MESSAGE_START", "messageId": "m1", "role": "assistant", "rawEvent": None},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "Hi"},
    {"type": "TEXT_MESSAGE_END", "messageId": "m1"},
    {"type": "RUN_FINISHED", "threadId": "x", "runId": "y", "result": None},
]
OTHER_CHUNKS = [
    {"type": "start", "messageId": "m1", "messageMetadata": {"model": "m"}},
    {"type": "start-step"},
    {"type": "text-start", "id": "1"},
    {"type": "text-delta", "id": "1", "delta": "Hi"},
    {"type": "text-end", "id": "1"},
    {"type": "finish-step"},
    {"type": "start-step"},
    {"type": "source-url", "sourceId": "s", "url": "https://example.com"},
    {"type": "finish-step"},
    {"type": "finish", "finishReason": "stop"},
]
RUNS = {
    "text": ["Hi"],
    "nothing": [],
    "all parts": ANSWER,
    "a whole message": [WHOLE],
    "an open call": CALL[:-1],
    "two answers": [*CALL, CALLS_TOOLS, RESULT, "So.", END],
    "state": [*STATE, "Hi", END],
    "interrupt": ["May I?", ASKS],
    "another server": OTHERS,
    "after its end": ["Hi", ASKS, "more", END],
    "after its failure": ["Hi", ERROR, "more", END],
    "a failure in a call": [*OPEN, ERROR],
    "RAW": [{"type": "their-event", "n": 1}, END],
    "CUSTOM": [{"type": "CUSTOM", "name": "app.news", "value": None}],
}


def rendered(wire, items, end="done"):
    """The bytes of an answer, which ends as its generator does, by a stop or by a failure."""
    frames = wire.frames(RUN, "0")
    parts = [frames.opening(), *map(frames.item, items)]
    ending = {"done": frames.done, "stopped": frames.stopped}.get(end)
    parts.append(ending() if ending else frames.failed({"status": 500, "detail": "no"}))
    return b"".join(parts)


def ui(items, end="done"):
    return chunks_of(rendered(UIMessageStream(), items, end))


def agui(items, end="done"):
    return chunks_of(rendered(AGUI(), items, end))


@pytest.mark.parametrize("end", ["done", "stopped", "failed"])
@pytest.mark.parametrize("name", RUNS)
def test_there_is_one_start_and_one_end_and_it_is_last(name, end):
    started = kinds(agui(RUNS[name], end))
    assert started[0] == "RUN_STARTED"
    ends = [kind for kind in started if kind in ("RUN_STARTED", "RUN_FINISHED", "RUN_ERROR")]
    assert len(ends) == 2
    assert started[-1] == ends[-1]
    chunks = [kind for kind in kinds(ui(RUNS[name], end)) if kind != "[DONE]"]
    assert chunks[:2] == ["start", "start-step"]
    assert chunks.count("start") == 1
    assert sum(kind in ("finish", "error", "abort") for kind in chunks) == 1
    if chunks[-1] == "finish":
        assert chunks.count("start-step") == chunks.count("finish-step")


@pytest.mark.parametrize("end", ["stopped", "failed"])
def test_a_call_that_broke_off_is_never_one_to_run(end):
    """Its input may be valid JSON by chance: nothing, `{}`, a number."""
    for items in (OPEN[:2], OPEN):
        assert "tool-input-available" not in kinds(ui(items, end))
        shown = agui(items, end)
        assert "TOOL_CALL_END" not in kinds(shown)
        assert shown[-1]["type"] == "RUN_ERROR"


def test_a_loop_of_tools_in_one_generator():
    two = RUNS["two answers"]
    chunks = ui(two)
    assert kinds(chunks)[-8:] == [
        *("finish-step", "start-step", "text-start", "text-delta", "text-end"),
        *("finish-step", "finish", "[DONE]"),
    ]
    assert chunks[-2]["finishReason"] == "stop"
    assert chunks[-2]["messageMetadata"]["usage"]["totalTokens"] == 10, "of both"
    assert agui(two)[-1]["usage"] == [{"inputTokens": 4, "outputTokens": 6, "totalTokens": 10}]


def test_a_failure_after_a_complete_answer_is_no_success():
    assert kinds(ui(["Hi", END], "failed"))[-2:] == ["error", "[DONE]"]
    assert kinds(agui(["Hi", END], "failed"))[-1] == "RUN_ERROR"


def test_the_start_of_another_server_is_merged_with_ours():
    assert kinds(ui(OTHER_CHUNKS)) == [
        *("start", "start-step", "message-metadata", "text-start", "text-delta", "text-end"),
        *("finish-step", "start-step", "source-url", "finish-step", "finish", "[DONE]"),
    ]
    first, *parts, last = agui(OTHERS)
    assert first == {"type": "RUN_STARTED", **RUN}
    assert last == {"type": "RUN_FINISHED", **RUN, "result": None}
    assert "rawEvent" not in parts[0], "a member that is null is left out"


def test_an_interrupt_carries_the_usage():
    ended = agui([text("Hi"), END, ASKS])[-1]
    assert ended["outcome"]["type"] == "interrupt"
    assert ended["usage"][0]["totalTokens"] == 5


@pytest.mark.full
@pytest.mark.timeout(600)  # the environment is to be made first
@pytest.mark.parametrize("end", ["done", "stopped", "failed"])
def test_the_validator_of_ag_ui_finds_nothing(end, tmp_path):
    home = environment("agui", PINS)
    said = {}
    for name, items in RUNS.items():
        (tmp_path / "run.sse").write_bytes(rendered(AGUI(), items, end))
        command = [home / "bin" / "ag-ui-validate", tmp_path / "run.sse", "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        found = json.loads(done.stdout)["diagnostics"]
        said[name] = [each for each in found if each["severity"] != "info"]
    assert {name: found for name, found in said.items() if found} == {}


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_validator_reads_a_live_run(service):
    command = [environment("agui", PINS) / "bin" / "ag-ui-validate", f"{service}/agui"]
    done = subprocess.run([*command, "--max-warnings", "0"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def unstreamed(kind, identity):
    """A step of another server with a call whose input came at once."""
    called = {"type": kind, "toolCallId": identity, "toolName": "f", "input": {}}
    more = {"errorText": "no"} if kind == "tool-input-error" else {}
    return [
        {"type": "start-step"},
        called | more,
        {"type": "tool-approval-request", "toolCallId": identity, "approvalId": "a"},
        {"type": "tool-output-available", "toolCallId": identity, "output": 1},
        {"type": "finish-step"},
    ]


@pytest.mark.parametrize("kind", ["tool-input-available", "tool-input-error"])
def test_a_call_that_is_not_streamed_begins_its_step(kind):
    said = [
        {"type": "start-step"},
        {"type": "custom", "kind": "a.b"},
        {"type": "finish-step"},
        {"type": "finish"},
    ]
    chunks = kinds(ui([{"type": "start"}, *unstreamed(kind, "a"), *unstreamed(kind, "b"), *said]))
    step = ["start-step", kind, "tool-approval-request", "tool-output-available", "finish-step"]
    last = ["start-step", "custom", "finish-step", "finish", "[DONE]"]
    assert chunks == ["start", *step, *step, *last]


def test_an_approval_goes_on_with_the_step_of_its_call():
    asked = {"type": "tool-approval-request", "toolCallId": "c1", "approvalId": "a"}
    assert kinds(ui([*CALL, CALLS_TOOLS, asked])).count("start-step") == 1


MESSAGE = {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"}
TOOL = {"type": "TOOL_CALL_START", "toolCallId": "a", "toolCallName": "f"}
LEFT_OPEN = {
    "a message": [MESSAGE, {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "x"}],
    "a call": [TOOL, {"type": "TOOL_CALL_ARGS", "toolCallId": "a", "delta": "{"}],
    "one of two calls": [TOOL, TOOL | {"toolCallId": "b"}, TOOL | {"type": "TOOL_CALL_END"}],
    "one of two steps": [STATE[0], STATE[0] | {"stepName": "b"}, STATE[-1]],
    "a reasoning": [
        {"type": "REASONING_START", "messageId": "m"},
        {"type": "REASONING_MESSAGE_START", "messageId": "m", "role": "reasoning"},
        {"type": "REASONING_MESSAGE_END", "messageId": "m"},
    ],
}


@pytest.mark.parametrize("name", LEFT_OPEN)
def test_a_stopped_run_is_not_finished_while_something_is_open(name):
    assert agui(LEFT_OPEN[name], "stopped")[-1]["type"] == "RUN_ERROR"


@pytest.mark.parametrize("items", [OTHERS[:-1], STATE])
def test_a_stopped_run_is_finished_when_all_is_closed(items):
    assert agui(items, "stopped")[-1]["outcome"] == {"type": "cancelled"}


class Inner(BaseModel):
    a: int | None = None
    b: int = 1


class Item(BaseModel):
    type: str
    data: Any = None
    snapshot: Any = None
    note: str | None = None


class OfAnotherLibrary:
    def model_dump(self, **options):
        return {"type": "data-x", "data": {"a": None}}


@pytest.mark.parametrize(
    ("item", "sent"),
    [
        (
            Item(type="STATE_SNAPSHOT", snapshot={"a": None, "b": [Inner()]}),
            {"type": "STATE_SNAPSHOT", "snapshot": {"a": None, "b": [{"a": None, "b": 1}]}},
        ),
        (Item(type="data-x", data=Inner()), {"type": "data-x", "data": {"a": None, "b": 1}}),
        (Item(type="data-x", data=None, note=None), {"type": "data-x", "data": None}),
        (Item(type="data-x"), {"type": "data-x"}),
        (OfAnotherLibrary(), {"type": "data-x", "data": {"a": None}}),
    ],
)
def test_nulls_in_the_data_of_a_model_are_sent(item, sent):
    assert ui([item])[2] == sent


@pytest.mark.parametrize("content", ["[" * 100_000, "[" * 300 + "]" * 300, '"\\ud800"'])
def test_json_that_no_client_could_read_is_sent_as_text(content):
    """It is nested too deeply, or has half a character."""
    result = StreamEvent(
        type=EventType.TOOL_RESULT, tool_result=ToolResult(id="c1", content=content)
    )
    *_, output, _, _, _ = ui([*CALL, result])
    assert (output["type"], output["output"]) == ("tool-output-available", content)
    given = [*OPEN[:2], call(EventType.TOOL_CALL_DELTA, arguments=content)]
    *_, wrong, _, _, _ = ui([*given, call(EventType.TOOL_CALL_END)])
    assert (wrong["type"], wrong["input"]) == ("tool-input-error", content)
