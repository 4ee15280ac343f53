"""The requests of front ends as conversations with a model: of `useChat`, and of AG-UI."""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.wire._openai import data_or_url
from dual_mode_streaming.llm.wire._parsing import as_list, invalid, problem_of

_Objects = Annotated[list[dict[str, Any]], BeforeValidator(lambda given: given or [])]
"""A list of objects that may be null."""

_MODALITIES: Final = ("image", "audio", "video", "document", "binary", "file")


class UIChat(BaseModel):
    """The body of a request of `useChat`, with what the app adds to it.

    Attributes:
        id: the id of the chat.
        messages: the messages of the AI SDK, with their parts.
        trigger: `submit-message` or `regenerate-message`.
        messageId: the message that is made again.
    """

    model_config = ConfigDict(extra="allow")

    id: str = Field(min_length=1, max_length=500)
    messages: list[dict[str, Any]]
    trigger: str | None = None
    messageId: str | None = None

    def chat(self, **options: Any) -> ChatRequest:
        """Return the conversation as a request to a model, with other fields of a ChatRequest.

        Parts that no model reads are left out: data, sources, and calls without a result.

        Raises:
            Problem: a message is wrong.
        """
        made: list[dict[str, Any]] = []
        for number, message in enumerate(self.messages):
            where = f"messages[{number}]"
            parts = message.get("parts")
            if not isinstance(parts, list):
                raise invalid(f"{where}.parts", "a list is needed")
            if message.get("role") == "assistant":
                made += _of_assistant(parts)
            else:
                content = [each for part in parts if (each := _ui_part(part, where)) is not None]
                made.append({"role": message.get("role"), "content": content})
        return _request(made, options)


class AGUIRun(BaseModel):
    """The body of a run of AG-UI (`RunAgentInput`).

    Attributes:
        threadId: the id of the conversation.
        runId: the id of the run.
        messages: the messages of AG-UI.
        tools: the tools that the client runs.
        context: texts that describe where the user is.
        state: the state that the agent and the client share.
        forwardedProps: what the app adds.
        resume: the answers to the interrupts in which the last run ended.
    """

    model_config = ConfigDict(extra="allow")

    threadId: str = Field(min_length=1, max_length=500)
    runId: str = Field(min_length=1, max_length=500)
    messages: list[dict[str, Any]]
    tools: _Objects = []
    context: _Objects = []
    state: Any = None
    forwardedProps: Any = None
    resume: _Objects = []

    def chat(self, **options: Any) -> ChatRequest:
        """Return the conversation as a request to a model, with other fields of a ChatRequest.

        The tools are the client's. Context, state and calls without a result are not sent to the
        model.

        Raises:
            Problem: a message is wrong.
        """
        made = []
        results = (each for each in self.messages if each.get("role") == "tool")
        answered = {str(each.get("toolCallId")) for each in results}
        for number, message in enumerate(self.messages):
            role, where = message.get("role"), f"messages[{number}]"
            if role in ("reasoning", "activity"):
                continue
            content = message.get("content") or ""
            if isinstance(content, list):
                content = [_agui_part(part, f"{where}.content") for part in content]
            elif not isinstance(content, str):
                raise invalid(f"{where}.content", "a string or a list of parts is needed")
            each = {"role": "system" if role == "developer" else role, "content": content}
            if role == "tool":
                each |= {"tool_call_id": message.get("toolCallId")}
                each["is_error"] = bool(message.get("error"))
            if role == "assistant":
                each["tool_calls"] = [
                    {"id": call.get("id"), **_function(call)}
                    for call in as_list(message.get("toolCalls") or [])
                    if isinstance(call, dict) and str(call.get("id")) in answered
                ]
            made.append(each)
        fields = ("name", "description", "parameters")
        tools = [{name: tool[name] for name in fields if tool.get(name)} for tool in self.tools]
        return _request(made, {"tools": tools, **options})


def _request(messages: list[dict[str, Any]], options: dict[str, Any]) -> ChatRequest:
    given = {name: value for name, value in options.items() if value is not None}
    messages = [each for each in messages if _is_said(each)]  # models refuse an empty one
    try:
        return ChatRequest.model_validate({"messages": messages, **given})
    except ValidationError as error:
        raise problem_of(error) from error


def _is_said(message: dict[str, Any]) -> bool:
    if isinstance(message.get("content"), list):
        message["content"] = [each for each in message["content"] if each.get("text") != ""]
    return message.get("role") == "tool" or bool(message["content"] or message.get("tool_calls"))


def _of_assistant(parts: Iterable[Any]) -> list[dict[str, Any]]:
    """Return the messages of one of the assistant's, whose tools ran between its texts."""
    made: list[dict[str, Any]] = []
    texts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []

    def end() -> None:
        if texts or calls:
            content = list(texts)
            made.append({"role": "assistant", "content": content, "tool_calls": list(calls)})
        made.extend(results)
        for each in (texts, calls, results):
            each.clear()

    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "step-start" or (kind == "text" and results):
            end()
        if kind == "text" and isinstance(part.get("text"), str) and part["text"]:
            texts.append({"type": "text", "text": part["text"]})
        elif isinstance(kind, str) and (kind == "dynamic-tool" or kind.startswith("tool-")):
            state, identity = part.get("state"), str(part.get("toolCallId"))
            given = part.get("approval")
            approval: dict[str, Any] = given if isinstance(given, dict) else {}
            if state == "approval-responded" and approval.get("approved") is False:
                state = "output-denied"
            if state not in ("output-available", "output-error", "output-denied"):
                continue
            name = part.get("toolName") or kind.removeprefix("tool-")
            given = part.get("input", part.get("rawInput"))
            arguments = given if isinstance(given, str) else json.dumps(given or {})
            calls.append({"id": identity, "name": name, "arguments": arguments})
            output = part.get("output")
            if state != "output-available":
                output = part.get("errorText") or approval.get("reason") or "the user denied it"
            text = output if isinstance(output, str) else json.dumps(output)
            result = {"role": "tool", "content": text, "tool_call_id": identity}
            results.append({**result, "is_error": state != "output-available"})
    end()
    return made


def _ui_part(part: Any, where: str) -> dict[str, Any] | None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return {"type": "text", "text": part.get("text")}
    if kind == "file":
        return _file(part.get("url"), part.get("mediaType"), part.get("filename"), where)
    return None


def _agui_part(part: Any, where: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return {"type": "text", "text": part.get("text")}
    if kind not in _MODALITIES:
        raise invalid(where, f"a part of the type {kind!r} is not known")
    given = part.get("source")
    source: dict[str, Any] = given if isinstance(given, dict) else part
    media = source.get("mimeType") or part.get("mimeType")
    if source.get("type") == "data" or (source.get("data") and not source.get("url")):
        data = source.get("value") or source.get("data")
        return _file(f"data:{media};base64,{data}", media, part.get("filename"), where)
    url = source.get("value") or source.get("url")
    return _file(url, media or f"{kind}/*", part.get("filename"), where)


def _file(url: Any, media: Any, name: Any, where: str) -> dict[str, Any]:
    source = data_or_url(url, f"{where}.url")
    if isinstance(media, str) and media.startswith("image/"):
        return {"type": "image", **source}
    made = {"type": "file", **source, "name": name if isinstance(name, str) else None}
    return made if "/*" in str(media) else {"media_type": media, **made}


def _function(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    named = function if isinstance(function, dict) else {}
    return {"name": named.get("name"), "arguments": named.get("arguments") or "{}"}
