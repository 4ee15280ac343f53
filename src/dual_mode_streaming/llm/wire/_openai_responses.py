"""OpenAI's responses, as openai-python 3 sends and parses them. Nothing is stored for later."""

from typing import Any, Final

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._events import StreamEvent
from dual_mode_streaming.llm._requests import ChatRequest
from dual_mode_streaming.llm.wire._format import Asked, random_id, text_of, unsupported
from dual_mode_streaming.llm.wire._openai_chat import openai_error
from dual_mode_streaming.llm.wire._response_objects import ResponseFrames, response_object

__all__ = ["OpenAIResponses"]

_TEXTS: Final = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_UNSUPPORTED: Final = {
    "previous_response_id": None,
    "conversation": None,
    "prompt": None,
    "background": False,
    "top_logprobs": 0,
    "max_tool_calls": None,
}
_ECHOED: Final = ("instructions", "max_output_tokens", "reasoning", "temperature", "top_p")


class OpenAIResponses:
    """`POST /v1/responses`."""

    id_header = "x-request-id"

    def new_id(self) -> str:
        """Such as OpenAI's request ids."""
        return random_id("req_")

    def asked(self, body: dict[str, Any]) -> Asked:
        """The request. The unknown is ignored, since clients add keys of their own."""
        unsupported(body, _UNSUPPORTED)
        stream = body.get("stream") or False
        if not isinstance(stream, bool):
            raise Problem(400, "stream: a boolean is needed", param="stream")
        if body.get("stream_options") and not stream:
            raise Problem(400, "stream_options: only with stream", param="stream_options")
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise Problem(400, "model: a string is needed", param="model")
        _plain_text(body.get("text"))
        reasoning = body.get("reasoning") or {}
        if not isinstance(reasoning, dict):
            raise Problem(400, "reasoning: an object is needed", param="reasoning")
        limit = body.get("max_output_tokens")
        if limit is not None and (type(limit) is not int or limit < 1):
            message = "max_output_tokens: a positive integer is needed"
            raise Problem(400, message, param="max_output_tokens")
        request = ChatRequest.model_validate(
            {
                "messages": _messages(body.get("instructions"), body.get("input")),
                "model": model,
                "max_tokens": limit,
                "tools": [tool for tool, _ in _tools(body.get("tools") or [])],
                "tool_choice": _tool_choice(body.get("tool_choice") or "auto"),
                "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
                "temperature": body.get("temperature"),
                "top_p": body.get("top_p"),
                "thinking": reasoning.get("effort") not in (None, "none", "minimal"),
            }
        )
        return Asked(request, stream, model, echo=_echo(body, request))

    def frames(self, asked: Asked, identity: str, input_tokens: int) -> ResponseFrames:
        """The events of one answer."""
        return ResponseFrames(identity.removeprefix("req_"), asked.echo)

    def batch(self, asked: Asked, identity: str, whole: StreamEvent) -> dict[str, Any]:
        """A response."""
        return response_object(identity.removeprefix("req_"), asked.echo, whole)

    def error(self, refusal: Problem, identity: str) -> dict[str, Any]:
        """The body of an error, with OpenAI's types."""
        return openai_error(refusal.status_code, str(refusal.detail), refusal.param, refusal.code)


def _echo(body: dict[str, Any], request: ChatRequest) -> dict[str, Any]:
    """What a response repeats of its request: the fields that its readers validate, and more."""
    return {
        "model": request.model,
        "parallel_tool_calls": request.parallel_tool_calls,
        "previous_response_id": None,
        "store": False,
        "text": {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": [tool for _, tool in _tools(body.get("tools") or [])],
        "truncation": "disabled",
        **{name: body.get(name) for name in _ECHOED},
    }


def _plain_text(given: Any) -> None:
    """Raises Problem if the answer is to be of another form than text."""
    form = given.get("format") if isinstance(given, dict) else given
    kind = form.get("type") if isinstance(form, dict) else form
    if kind not in (None, "text"):
        message = f"text.format: {kind!r} is not supported, but text"
        raise Problem(400, message, param="text.format", code="unsupported_value")


def _messages(instructions: Any, given: Any) -> list[dict[str, Any]]:
    if instructions is not None and not isinstance(instructions, str):
        raise Problem(400, "instructions: a string is needed", param="instructions")
    messages: list[dict[str, Any]] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        message = "input: a string or a list of at least one item is needed"
        raise Problem(400, message, param="input")
    for number, item in enumerate(given):
        where = f"input[{number}]"
        if not isinstance(item, dict):
            raise Problem(400, f"{where}: an object is needed", param=where)
        _add(messages, item, where)
    return messages


def _add(messages: list[dict[str, Any]], item: dict[str, Any], where: str) -> None:
    """One item of the input; calls become part of the assistant's message before them."""
    match item.get("type") or "message":
        case "message":
            role = item.get("role")
            if role not in ("user", "assistant", "system", "developer"):
                message = f"{where}.role: user, assistant, system or developer is needed"
                raise Problem(400, message, param=f"{where}.role")
            content = text_of(item.get("content"), f"{where}.content", _TEXTS)
            messages.append({"role": "system" if role == "developer" else role, "content": content})
        case "function_call":
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": ""})
            call = {"id": item.get("call_id"), "name": item.get("name")}
            calls = messages[-1].setdefault("tool_calls", [])
            calls.append({**call, "arguments": item.get("arguments")})
        case "function_call_output":
            content = text_of(item.get("output"), f"{where}.output", _TEXTS)
            answer = {"role": "tool", "content": content, "tool_call_id": item.get("call_id")}
            messages.append(answer)
        case "reasoning":
            pass  # what was thought before is not needed again
        case kind:
            raise Problem(
                400,
                f"{where}.type: {kind!r} is not supported",
                param=f"{where}.type",
                code="unsupported_value",
            )


def _tools(given: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The tools, each as we have it and as it is repeated."""
    tools = []
    for number, tool in enumerate(given if isinstance(given, list) else [given]):
        if not isinstance(tool, dict) or tool.get("type") != "function":
            param = f"tools[{number}]"
            raise Problem(400, f"{param}: only functions are supported", param=param)
        known = ("name", "description", "parameters")
        ours = {key: tool[key] for key in known if tool.get(key) is not None}
        theirs = {"type": "function", **ours, "strict": tool.get("strict") is True}
        tools.append((ours, {"parameters": None, **theirs}))
    return tools


def _tool_choice(given: Any) -> Any:
    if isinstance(given, dict) and given.get("type") == "function":
        return {"name": given.get("name")}
    return given
