"""pydantic-ai's two models: alone, and in an agent that calls its tools."""

from anthropic import AsyncAnthropic
from asking import CITY, RESULT, URL, seen, tell
from openai import AsyncOpenAI
from pydantic_ai import Agent, ModelRequest, ToolDefinition
from pydantic_ai.direct import model_request_stream_sync, model_request_sync
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

TOOLS = ModelRequestParameters(
    function_tools=[
        ToolDefinition(name=name, parameters_json_schema=CITY) for name in ("weather", "time")
    ]
)


def ways(model):
    def answer(response):
        return seen(
            response.text,
            response.thinking,
            [(call.tool_name, call.args_as_dict()) for call in response.tool_calls],
            (response.usage.input_tokens, response.usage.output_tokens),
            response.finish_reason,
        )

    def asked(question):
        return {
            "model": model,
            "messages": [ModelRequest.user_text_prompt(question)],
            "model_settings": {"max_tokens": 1000},
            "model_request_parameters": TOOLS,
        }

    def stream(question):
        with model_request_stream_sync(**asked(question)) as events:
            for _ in events:
                pass
            return answer(events.response)

    def round_trip(question):
        agent = Agent(model)

        @agent.tool_plain
        def weather(city: str, note: str) -> str:
            return RESULT

        @agent.tool_plain
        def time() -> str:
            return RESULT

        return agent.run_sync(question).output

    return {
        "batch": lambda question: answer(model_request_sync(**asked(question))),
        "stream": stream,
        "round": round_trip,
    }


common = {"api_key": "k", "max_retries": 0}
openai = AsyncOpenAI(base_url=f"{URL}/v1", **common)
anthropic = AsyncAnthropic(base_url=URL, **common)
tell(
    openai=ways(OpenAIChatModel("simulator", provider=OpenAIProvider(openai_client=openai))),
    anthropic=ways(
        AnthropicModel("simulator", provider=AnthropicProvider(anthropic_client=anthropic))
    ),
)
