"""Between two APIs: what the table of docs/llm.md says, and what the agents' requests become."""

import json
import re
from pathlib import Path

import pytest

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm import ChatRequest, ProviderError
from dual_mode_streaming.llm.providers._anthropic_body import anthropic_body
from dual_mode_streaming.llm.providers._chat_body import chat_body
from dual_mode_streaming.llm.wire import AnthropicMessages, OpenAIChat, OpenAIResponses

from .test_wire import ANSWER

PAGE = Path(__file__).parents[2] / "docs" / "llm.md"
ROW = re.compile(
    r"^\| ([^|]+?) \| (sent|dropped|refused)[^|]*\| (sent|dropped|refused)[^|]*\|$", re.M
)
TABLE = {name.replace("`", ""): words for name, *words in ROW.findall(PAGE.read_text())}

USER = {"role": "user", "content": "Hi"}
PNG = {"type": "image", "data": "aGk=", "media_type": "image/png"}
TOOLS = [{"name": "f", "parameters": {"type": "object"}}]
CALL = {"role": "assistant", "tool_calls": [{"id": "c", "name": "f", "arguments": "{}"}]}


def said(*parts):
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, *parts]}]}


def thought(**thinking):
    part = {"type": "thinking", "text": "Hm.", **thinking}
    answer = {"role": "assistant", "content": [part, {"type": "text", "text": "Yes"}]}
    return {"messages": [USER, answer, USER]}


def result(content="done", **fields):
    return {
        "messages": [
            USER,
            CALL,
            {"role": "tool", "tool_call_id": "c", "content": content, **fields},
        ]
    }


PLAIN = {"messages": [USER]}
ANSWERED = {"messages": [USER, {"role": "assistant", "content": "Yes"}, USER]}
CASES = {
    "several texts": (PLAIN, said({"type": "text", "text": "there"})),
    "an image": (PLAIN, said(PNG)),
    "an image in a tool's result": (
        result(),
        result([{"type": "text", "text": "done"}, PNG]),
    ),
    "an uploaded image": (PLAIN, said({"type": "image", "file_id": "file_1"})),
    "a document": (PLAIN, said({"type": "file", "data": "aGk=", "name": "a.pdf"})),
    "a document by its URL": (PLAIN, said({"type": "file", "url": "https://example.com/a.pdf"})),
    "signed thinking": (ANSWERED, thought(signature="s")),
    "unsigned thinking": (ANSWERED, thought()),
    "a part only another API knows": (
        PLAIN,
        said({"type": "opaque", "dialect": "openai-responses", "value": {"type": "compaction"}}),
    ),
    "a failed tool": (result(), result(is_error=True)),
    "max_tokens": (PLAIN, {**PLAIN, "max_tokens": 7}),
    "stop": (PLAIN, {**PLAIN, "stop": ["x"]}),
    "temperature": (PLAIN, {**PLAIN, "temperature": 0.0}),
    "top_p": (PLAIN, {**PLAIN, "top_p": 0.5}),
    "top_k": (PLAIN, {**PLAIN, "top_k": 5}),
    "presence_penalty": (PLAIN, {**PLAIN, "presence_penalty": 0.5}),
    "frequency_penalty": (PLAIN, {**PLAIN, "frequency_penalty": 0.5}),
    "seed": (PLAIN, {**PLAIN, "seed": 5}),
    "effort": (PLAIN, {**PLAIN, "effort": "xhigh"}),
    "verbosity": (PLAIN, {**PLAIN, "verbosity": "low"}),
    "thinking": (PLAIN, {**PLAIN, "thinking": True}),
    "thinking: auto": (PLAIN, {**PLAIN, "thinking": "auto"}),
    "thinking_budget": (PLAIN, {**PLAIN, "thinking": True, "thinking_budget": 2000}),
    "JSON by a schema": (PLAIN, {**PLAIN, "output": {"json_schema": {"type": "object"}}}),
    "JSON without a schema": (PLAIN, {**PLAIN, "output": {}}),
    "strict of a tool": (
        {**PLAIN, "tools": TOOLS},
        {**PLAIN, "tools": [{**TOOLS[0], "strict": True}]},
    ),
    "tool_choice": (
        {**PLAIN, "tools": TOOLS},
        {**PLAIN, "tools": TOOLS, "tool_choice": {"name": "f"}},
    ),
    "parallel_tool_calls": (
        {**PLAIN, "tools": TOOLS},
        {**PLAIN, "tools": TOOLS, "parallel_tool_calls": False},
    ),
}


def to_anthropic(request):
    return anthropic_body(request, "m", 4096)


def to_chat(request):
    return chat_body(request, "m", limit="max_tokens")


def test_the_table_has_every_case_and_the_fields_that_are_always_hints():
    assert set(TABLE) == set(CASES) | {"cache_control", "metadata"}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("column", "translate"), [(0, to_anthropic), (1, to_chat)])
def test_the_table_is_true(name, column, translate):
    without, with_it = (ChatRequest.model_validate(case) for case in CASES[name])
    match TABLE[name][column]:
        case "refused":
            with pytest.raises(ProviderError) as raised:
                translate(with_it)
            assert (raised.value.status, raised.value.code) == (400, "unsupported_value")
            assert raised.value.param
        case "dropped":
            assert translate(with_it) == translate(without)
        case "sent":
            assert translate(with_it) != translate(without)


def parsed(wire, body, **more):
    base = {"model": "m", "max_tokens": 50}
    return wire.parse({**base, **body, **more}).chat


def test_what_was_not_given_is_not_sent():
    bodies = [
        (AnthropicMessages(), {"messages": [USER]}),
        (OpenAIChat(), {"messages": [USER]}),
        (OpenAIResponses(), {"input": "Hi"}),
    ]
    for wire, body in bodies:
        request = parsed(wire, body)
        message = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
        assert set(to_anthropic(request)) == {"model", "max_tokens", "messages"}
        assert to_anthropic(request)["messages"] == [message]
        assert set(to_chat(request)) <= {"model", "max_tokens", "messages"}
        assert to_chat(request)["messages"] == [USER]


@pytest.mark.parametrize("effort", ["low", "medium", "high", "xhigh", "max"])
def test_an_effort_stays_the_effort(effort):
    requests = [
        parsed(AnthropicMessages(), {"messages": [USER]}, output_config={"effort": effort}),
        parsed(OpenAIChat(), {"messages": [USER]}, reasoning_effort=effort),
        parsed(OpenAIResponses(), {"input": "Hi"}, reasoning={"effort": effort}),
    ]
    for request in requests:
        assert to_anthropic(request)["output_config"] == {"effort": effort}
        assert to_chat(request)["reasoning_effort"] == effort


def test_parallel_results_with_images_stay_together_before_what_they_show():
    calls = [{"id": str(n), "name": "f", "arguments": "{}"} for n in range(2)]
    results = [{"role": "tool", "tool_call_id": str(n), "content": [PNG]} for n in range(2)]
    conversation = [USER, {"role": "assistant", "tool_calls": calls}, *results, USER]
    messages = to_chat(ChatRequest(messages=conversation))["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool", "user", "user"]
    kinds = [part["type"] for part in messages[4]["content"]]
    assert kinds == ["text", "image_url", "text", "image_url"]


def test_thinking_with_its_signature_goes_back_in_front_of_the_calls_it_led_to():
    items = [
        {"role": "user", "content": "Hi"},
        {
            "type": "reasoning",
            "content": [{"type": "reasoning_text", "text": "Hm."}],
            "encrypted_content": "sig",
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "c", "output": "done"},
    ]
    request = parsed(OpenAIResponses(), {"input": items})
    _, answer, results = to_anthropic(request)["messages"]
    assert [block["type"] for block in answer["content"]] == ["thinking", "tool_use"]
    assert answer["content"][0] == {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
    assert answer["content"][1]["input"] == {"a": 1}
    assert results["content"][0]["content"] == "done"


def test_a_budget_is_not_asked_for_in_a_turn_that_lost_its_thinking():
    request = ChatRequest.model_validate({**result(), "thinking": True, "thinking_budget": 2000})
    assert "thinking" not in to_anthropic(request), "the API would refuse it"


def test_arguments_that_were_cut_are_sent_as_json():
    conversation = json.loads(json.dumps(result()))
    conversation["messages"][1]["tool_calls"][0]["arguments"] = '{"a": "b'
    request = ChatRequest.model_validate(conversation)
    call = to_chat(request)["messages"][1]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"])
    assert to_anthropic(request)["messages"][1]["content"][0]["input"]


TEXT = {"type": "text", "text": "x"}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
BLOCKS = [
    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
    {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
    {"type": "mcp_tool_use", "id": "s", "name": "x", "input": {}},
    {"type": "container_upload", "file_id": "f"},
    {"type": "redacted_thinking", "data": "x"},
    {"type": "thinking", "thinking": "", "signature": "x"},
    {
        "type": "search_result",
        "source": "s",
        "title": "t",
        "content": [{"type": "text", "text": "x"}],
    },
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
    {"type": "document", "source": {"type": "content", "content": [TEXT, PICTURE]}},
    {"type": "document", "source": {"type": "content", "content": [TEXT]}},
    {"type": "image", "source": {"type": "url", "url": "https://example.com/x.png"}},
    {"type": "a_block_of_next_year", "x": 1},
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["type"])
def test_the_history_of_an_agent_may_have_any_block_of_anthropics(block):
    messages = [
        USER,
        {"role": "assistant", "content": [block, {"type": "text", "text": "x"}]},
        USER,
    ]
    assert parsed(AnthropicMessages(), {"messages": messages}).messages[1].role == "assistant"
    shown = {"type": "tool_reference", "tool_name": "f"}
    use = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    answer = {
        "type": "tool_result",
        "tool_use_id": "c",
        "content": [block, shown],
        "is_error": True,
    }
    messages = [
        USER,
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [answer]},
    ]
    request = parsed(AnthropicMessages(), {"messages": messages})
    assert request.messages[-1].is_error
    assert "tool f is available" in request.messages[-1].text


def test_a_system_message_may_stand_among_the_others_and_says_the_same():
    messages = [USER, {"role": "system", "content": "Be brief."}, USER]
    request = parsed(AnthropicMessages(), {"messages": messages}, system="Be kind.")
    assert [m.role for m in request.messages] == ["system", "user", "system", "user"]
    assert [block["text"] for block in to_anthropic(request)["system"]] == ["Be kind.", "Be brief."]


ITEMS = [
    {"type": "web_search_call", "id": "w", "status": "completed", "action": {}},
    {"type": "tool_search_call", "id": "t", "arguments": {}},
    {"type": "tool_search_output", "id": "t", "tools": []},
    {"type": "local_shell_call", "id": "l", "action": {}},
    {"type": "compaction", "encrypted_content": "x"},
    {"type": "reasoning", "summary": [], "encrypted_content": None},
    {"type": "an_item_of_next_year", "x": 1},
]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["type"])
def test_the_history_of_an_agent_may_have_any_item_of_openais(item):
    custom = {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** Begin"}
    output = {"type": "custom_tool_call_output", "call_id": "c", "output": "done"}
    request = parsed(OpenAIResponses(), {"input": [USER, item, custom, output, USER]})
    calls = [call for message in request.messages for call in message.tool_calls]
    assert json.loads(calls[0].arguments) == {"input": "*** Begin"}


CODEX = [
    {"type": "function", "name": "shell", "parameters": {"type": "object"}, "strict": False},
    {"type": "custom", "name": "patch", "description": "d", "format": {"type": "grammar"}},
    {"type": "namespace", "name": "ns", "description": "d", "tools": [
        {"type": "function", "name": "look", "parameters": {"type": "object"}},
    ]},
    {"type": "web_search", "external_web_access": False},
    {"type": "tool_search"},
    {"type": "image_generation"},
]  # fmt: skip


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_tools_that_nobody_here_can_run_are_left_out(choice):
    request = parsed(OpenAIResponses(), {"input": "Hi", "tools": CODEX, "tool_choice": choice})
    assert [tool.name for tool in request.tools] == ["shell", "patch", "look"]
    tools = [{"type": "web_search_20260318", "name": "web_search"}, {"type": "bash_20250124"}]
    anthropic = {"type": choice or "auto"}
    body = {"messages": [USER], "tools": [*tools, {"name": "f"}], "tool_choice": anthropic}
    assert [tool.name for tool in parsed(AnthropicMessages(), body).tools] == ["f"]
    body = {"messages": [USER], "tools": [{"type": "custom", "custom": {"name": "x"}}]}
    assert parsed(OpenAIChat(), body, tool_choice=choice).tools == ()


@pytest.mark.parametrize("kind", ["additional_tools", "tool_search_output"])
def test_items_of_the_input_add_tools(kind):
    added = {"type": kind, "role": "developer", "tools": CODEX}
    wire = OpenAIResponses()
    made = wire.parse(
        {"model": "m", "input": [added, USER], "tools": [{**CODEX[0], "name": "own"}]}
    )
    assert [tool.name for tool in made.chat.tools] == ["own", "shell", "patch", "look"]
    assert made.calls == {"patch": {"type": "custom_tool_call"}, "look": {"namespace": "ns"}}
    wrong = [USER, {**added, "tools": [5]}]
    with pytest.raises(Problem) as refused:
        wire.parse({"model": "m", "input": wrong})
    assert "input[1].tools[0]" in refused.value.detail


def test_blocks_of_the_conversation_change_the_tools_and_the_effort():
    def change(kind, **tool):
        return {"role": "system", "content": [{"type": kind, "tool": tool}]}

    new = {"name": "new", "input_schema": {"type": "object"}}
    messages = [
        USER,
        change("tool_addition", type="tool_definition", definition=new),
        change("tool_addition", type="tool_reference", name="kept"),
        change("tool_removal", type="tool_reference", name="old"),
        {"role": "system", "content": "Hm.", "output_config": {"effort": "low"}},
        USER,
    ]
    body = {"messages": messages, "output_config": {"effort": "high"}}
    tools = [{"name": "old"}, {"name": "kept"}]
    request = parsed(AnthropicMessages(), body, tools=tools)
    assert [tool.name for tool in request.tools] == ["kept", "new"]
    assert request.effort == "low"
    assert [m.role for m in request.messages] == ["user", "system", "user"]
    wrong = [USER, change("tool_addition", type="tool_definition", definition=3)]
    with pytest.raises(Problem, match="tools"):
        parsed(AnthropicMessages(), {"messages": wrong})
    assert not parsed(AnthropicMessages(), {"messages": [USER, change("tool_removal", x=[])]}).tools


def test_items_that_only_configure_say_nothing():
    update = {"type": "configuration_update", "reasoning": {"effort": "low"}}
    tools = {"type": "additional_tools", "tools": []}
    body = {"input": [tools, USER, update], "reasoning": {"effort": "high"}}
    request = parsed(OpenAIResponses(), body)
    assert (request.effort, [m.role for m in request.messages]) == ("low", ["user"])
    assert to_anthropic(request)["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    ]
    with pytest.raises(Problem, match="says something"):
        parsed(OpenAIResponses(), {"input": [tools, update]})


def test_only_the_allowed_tools_are_left():
    tools = [{"type": "function", "name": name, "parameters": {}} for name in "abc"]
    allowed = [{"type": "function", "name": "b"}]
    choice = {"type": "allowed_tools", "mode": "required", "tools": allowed}
    request = parsed(OpenAIResponses(), {"input": "Hi", "tools": tools, "tool_choice": choice})
    assert ([tool.name for tool in request.tools], request.tool_choice) == (["b"], "required")
    tools = [{"type": "function", "function": {"name": name}} for name in "abc"]
    inner = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "c"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": inner}
    request = parsed(OpenAIChat(), {"messages": [USER], "tools": tools}, tool_choice=choice)
    assert ([tool.name for tool in request.tools], request.tool_choice) == (["c"], "auto")


NONE = {
    "functions": [], "function_call": "none", "top_logprobs": 0, "logprobs": False, "audio": None,
    "n": 1, "modalities": ["text"], "prediction": None, "tools": [], "tool_choice": None,
    "response_format": {"type": "text"}, "stop": None, "logit_bias": {}, "mcp_servers": [],
    "container": None, "max_tool_calls": None, "background": False, "previous_response_id": None,
    "prompt": None, "conversation": None, "thread": None, "thinking": None, "output_config": None,
    "reasoning": None, "text": None, "instructions": None, "max_output_tokens": None,
    "stop_sequences": None, "parallel_tool_calls": None, "system": None, "stream_options": None,
}  # fmt: skip


@pytest.mark.parametrize("name", NONE)
@pytest.mark.parametrize("wire", [AnthropicMessages(), OpenAIChat(), OpenAIResponses()])
def test_a_field_that_means_none_is_none(wire, name):
    body = {"messages": [USER], "input": "Hi"}
    with_it = parsed(wire, {**body, name: NONE[name]})
    assert to_chat(with_it) == to_chat(parsed(wire, body))


def test_an_item_is_remembered_and_another_is_refused_by_its_name():
    wire = OpenAIResponses()
    request = wire.parse({"model": "m", "input": "Hi"})
    frames = wire.answer_frames(request, "req_1", 0)
    for event in ANSWER:
        frames.item(event)
    references = [{"type": "item_reference", "id": f"{kind}_1_{n}"} for n, kind in enumerate(
        ["rs", "msg", "fc", "fc"]
    )]  # fmt: skip
    outputs = [{"type": "function_call_output", "call_id": f"c{n}", "output": "x"} for n in (0, 1)]
    again = parsed(wire, {"input": [USER, *references, *outputs]})
    assert [call.id for call in again.messages[1].tool_calls] == ["c0", "c1"]
    with pytest.raises(Problem, match="no item 'msg_9' is remembered"):
        parsed(wire, {"input": [{"type": "item_reference", "id": "msg_9"}]})
