"""LlamaIndex's agents."""

from asking import URL, tell, weather
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike

model = OpenAILike(
    model="simulator",
    api_base=f"{URL}/v1",
    api_key="any",
    is_chat_model=True,
    is_function_calling_model=True,
    additional_kwargs={"stream_options": {"include_usage": True}},
)


def agent():
    return FunctionAgent(tools=[weather], llm=model)


tell(
    run=lambda question: agent().run(question),
    events=lambda question: agent().run(question).stream_events(),
)
