"""Thinking with tools over several turns: each SDK, the service, and a provider that is strict."""

import json

import anthropic
import openai
import pytest
import pytest_asyncio
from fastapi import FastAPI

from dual_mode_streaming.llm import LLMClient, llm_routes
from dual_mode_streaming.llm.providers import AnthropicProvider, OpenAIProvider
from dual_mode_streaming.testing import serving
from tests.helpers.scripted import Switch

from .agents.strict import FINAL, StrictAnthropic
from .agents.strict_openai import StrictOpenAI

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILES = {"one.txt": "the word is kumquat", "two.txt": "the word is papaya"}
SCHEMA = {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"]}
QUESTION = "Read the words."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services():
    """A server for the models, one for the services in front of them, and these, by provider."""
    switch, front = Switch(), Switch()
    async with (
        serving(switch, log_level="critical") as url,
        serving(front, log_level="critical") as front.url,
    ):
        providers = {
            "anthropic": AnthropicProvider("their-key", base_url=url),
            "openai": OpenAIProvider("their-key", base_url=f"{url}/v1"),
            "chat only": OpenAIProvider("their-key", base_url=f"{url}/v1"),
        }
        apps = {}
        for name, provider in providers.items():
            apps[name] = FastAPI()
            apps[name].include_router(llm_routes(LLMClient(provider, attempts=1)))
        yield switch, front, apps
        for provider in providers.values():
            await provider.aclose()


NAMES = ["anthropic", "openai", "chat only"]


@pytest.fixture(params=NAMES)
def upstream(request, services):
    """The model behind a provider, the URL of the service in front of it, and its name."""
    switch, front, apps = services
    made = {
        "anthropic": StrictAnthropic,
        "openai": StrictOpenAI,
        "chat only": lambda: StrictOpenAI(has_responses=False),
    }
    switch.server = made[request.param]()
    front.server = apps[request.param]
    return switch.server, front.url, request.param


async def by_messages(client, stream, step=None):
    messages = [{"role": "user", "content": QUESTION}]
    asked = {"model": "m", "max_tokens": 2000, "messages": messages}
    asked["tools"] = [{"name": "read", "input_schema": SCHEMA}]
    asked["thinking"] = {"type": "adaptive"}
    while True:
        if stream:
            async with client.messages.stream(**asked) as events:
                message = await events.get_final_message()
        else:
            message = await client.messages.create(**asked)
        said = [block.model_dump(exclude_unset=True) for block in message.content]
        for block in said:  # what the stream's helper adds for itself
            block.pop("parsed_output", None)
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": FILES[block.input["file"]]}
            for block in message.content
            if block.type == "tool_use"
        ]
        if not results:
            return message.content[-1].text
        messages += [{"role": "assistant", "content": said}, {"role": "user", "content": results}]
        if step is not None:
            step(messages)


async def by_responses(client, stream, step=None):
    items = [{"role": "user", "content": QUESTION}]
    asked = {"model": "m", "input": items, "store": False, "reasoning": {"effort": "low"}}
    asked["tools"] = [{"type": "function", "name": "read", "parameters": SCHEMA, "strict": False}]
    asked["include"] = ["reasoning.encrypted_content"]
    while True:
        if stream:
            async with client.responses.stream(**asked) as events:
                response = await events.get_final_response()
        else:
            response = await client.responses.create(**asked)
        results = []
        for item in response.output:
            said = item.model_dump(exclude_unset=True)
            said.pop("parsed_arguments", None)
            for part in said.get("content") or []:
                part.pop("parsed", None)
            items.append(said)
            if item.type == "function_call":
                text = FILES[json.loads(item.arguments)["file"]]
                answer = {"type": "function_call_output", "call_id": item.call_id, "output": text}
                results.append(answer)
        if not results:
            return response.output_text
        items += results
        if step is not None:
            step(items)


async def by_chat(client, stream, step=None):
    messages = [{"role": "user", "content": QUESTION}]
    asked = {"model": "m", "messages": messages, "reasoning_effort": "low"}
    asked["tools"] = [{"type": "function", "function": {"name": "read", "parameters": SCHEMA}}]
    while True:
        if stream:
            async with client.chat.completions.stream(**asked) as events:
                completion = await events.get_final_completion()
        else:
            completion = await client.chat.completions.create(**asked)
        message = completion.choices[0].message
        if not message.tool_calls:
            return message.content
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": "read", "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ]
        messages.append({"role": "assistant", "content": message.content, "tool_calls": calls})
        for call in calls:
            text = FILES[json.loads(call["function"]["arguments"])["file"]]
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": text})
        if step is not None:
            step(messages)


AGENTS = {"messages": by_messages, "responses": by_responses, "chat": by_chat}


def client_of(api, url):
    if api == "messages":
        return anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0)
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "batch"])
@pytest.mark.parametrize("api", AGENTS)
async def test_thinking_with_tools_over_several_turns(upstream, api, stream):
    model, url, name = upstream
    async with client_of(api, url) as client:
        assert await AGENTS[api](client, stream) == FINAL
    assert model.refused == []
    # Only chat completions have no place for the thinking of Anthropic's model.
    assert bool(model.lost) == ((name, api) == ("anthropic", "chat"))


def signature(history):
    for block in history[1]["content"]:
        if block["type"] == "thinking":
            block["signature"] += "x"


def text_of_thinking(history):
    for block in history[1]["content"]:
        if block["type"] == "thinking":
            block["thinking"] = "Something else."


def no_tool_use(history):
    history[1]["content"] = [{"type": "text", "text": "Hm."}]


def no_result(history):
    history[2]["content"].pop()


def unknown_role(history):
    history.append({"role": "narrator", "content": "And then?"})


def unknown_block(history):
    history[0]["content"] = [{"type": "text", "text": "x", "colour": "red"}]


def seal(history):
    for item in history:
        if item.get("type") == "reasoning":
            item["encrypted_content"] += "x"


def no_call(history):
    history[:] = [item for item in history if item.get("type") != "function_call"]


def no_output(history):
    history.pop()


def identity(history):
    next(item for item in history if item.get("type") == "message")["id"] = "x_1"


def no_assistant(history):
    history[:] = [message for message in history if message["role"] != "assistant"]


WRONG = [
    ("anthropic", "messages", signature, "Invalid `signature`"),
    ("anthropic", "messages", text_of_thinking, "Invalid `signature`"),
    ("anthropic", "messages", no_tool_use, "unexpected `tool_use_id`"),
    ("anthropic", "messages", no_result, "without `tool_result`"),
    ("anthropic", "messages", unknown_role, "narrator"),
    ("anthropic", "messages", unknown_block, "Extra inputs"),
    ("anthropic", "responses", seal, "Invalid `signature`"),
    ("openai", "responses", seal, "could not be verified"),
    ("openai", "responses", no_call, "No tool call found"),
    ("openai", "responses", no_output, "No tool output found"),
    ("openai", "responses", identity, "Expected 'msg'"),
    ("openai", "chat", no_assistant, "role 'tool'"),
    ("openai", "chat", no_output, "did not have response messages"),
    ("openai", "chat", unknown_role, "Invalid role"),
]


@pytest.mark.parametrize(
    ("upstream", "api", "spoil", "words"),
    WRONG,
    ids=[f"{api}-to-{name}-{spoil.__name__}" for name, api, spoil, _ in WRONG],
    indirect=["upstream"],
)
async def test_what_the_provider_refuses_is_refused_in_its_words(upstream, api, spoil, words):
    model, url, _ = upstream
    async with client_of(api, url) as client:
        with pytest.raises((anthropic.BadRequestError, openai.BadRequestError), match=words):
            await AGENTS[api](client, False, spoil)
    assert len(model.refused) == 1
