"""LangChain's two chat models."""

from asking import RESULT, TOOLS, URL, seen, tell
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI


def ways(model):
    model = model.bind_tools(TOOLS)

    def answer(message):
        told = message.response_metadata
        usage = message.usage_metadata
        return seen(
            message.text,
            "".join(block.get("reasoning", "") for block in message.content_blocks),
            [(call["name"], call["args"]) for call in message.tool_calls],
            (usage["input_tokens"], usage["output_tokens"]),
            told.get("finish_reason") or told.get("stop_reason"),
        )

    def stream(question):
        chunks = list(model.stream(question))
        return answer(sum(chunks[1:], chunks[0]))

    def round_trip(question):
        message = model.invoke(question)
        results = [ToolMessage(RESULT, tool_call_id=call["id"]) for call in message.tool_calls]
        return model.invoke([HumanMessage(question), message, *results]).text

    return {
        "batch": lambda question: answer(model.invoke(question)),
        "stream": stream,
        "round": round_trip,
    }


common = {"model": "simulator", "api_key": "k", "max_retries": 0, "max_tokens": 1000}
tell(
    openai=ways(ChatOpenAI(base_url=f"{URL}/v1", stream_usage=True, **common)),
    anthropic=ways(ChatAnthropic(base_url=URL, **common)),
)
