"""LangChain's agents on LangGraph, in the modes in which they stream messages."""

from asking import URL, tell, weather
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    base_url=f"{URL}/v1",
    api_key="any",
    model="simulator",
    stream_usage=True,
    use_responses_api=False,
)
agent = create_agent(model, [weather])


def given(question):
    return {"messages": [{"role": "user", "content": question}]}


tell(
    messages=lambda question: agent.astream(given(question), stream_mode="messages"),
    both=lambda question: agent.astream(given(question), stream_mode=["messages", "updates"]),
    updates=lambda question: agent.astream(given(question), stream_mode="updates"),
    values=lambda question: agent.astream(given(question), stream_mode="values"),
    parts=lambda question: agent.astream(
        given(question), stream_mode=["messages", "values"], version="v2"
    ),
    events=lambda question: agent.astream_events(given(question), version="v2"),
)
