"""pydantic-ai: all events of a run, and the stream of its answer."""

from asking import URL, tell, weather
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url=f"{URL}/v1", api_key="any")
agent = Agent(OpenAIChatModel("simulator", provider=provider), tools=[weather])

tell(events=agent.run_stream_events)
