"""openai-agents, by chat completions and by responses."""

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from asking import URL, tell, weather
from openai import AsyncOpenAI

set_tracing_disabled(True)
client = AsyncOpenAI(base_url=f"{URL}/v1", api_key="any")
tool = function_tool(weather)


def run(model, question):
    agent = Agent(
        name="reporter",
        model=model("simulator", client),
        tools=[tool],
        model_settings=ModelSettings(include_usage=True),
    )
    return Runner.run_streamed(agent, question)


tell(
    chat=lambda question: run(OpenAIChatCompletionsModel, question),
    responses=lambda question: run(OpenAIResponsesModel, question),
    events=lambda question: run(OpenAIChatCompletionsModel, question).stream_events(),
)
