"""The Claude Agent SDK with its own command line: whole messages, partial ones, and a client's."""

import os

from asking import URL, tell, weather
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, create_sdk_mcp_server, query, tool


@tool("weather", weather.__doc__, {"city": str})
async def weather_of_city(arguments):
    return {"content": [{"type": "text", "text": weather(**arguments)}]}


def options(**more):
    return ClaudeAgentOptions(
        mcp_servers={"ours": create_sdk_mcp_server("ours", tools=[weather_of_city])},
        allowed_tools=["mcp__ours__weather"],
        cwd=os.environ["HOME"],  # where there is no CLAUDE.md
        env={"ANTHROPIC_BASE_URL": URL, "ANTHROPIC_API_KEY": "any-key-of-ours"},
        **more,
    )


async def received(question):
    async with ClaudeSDKClient(options()) as client:
        await client.query(question)
        async for message in client.receive_response():
            yield message


tell(
    patience=20,  # the SDK ends its program in a task of its own
    whole=lambda question: query(prompt=question, options=options()),
    partial=lambda question: query(prompt=question, options=options(include_partial_messages=True)),
    client=received,
)
