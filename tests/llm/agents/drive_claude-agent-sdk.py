"""One question to the Claude Agent SDK: `QUESTION [--continue] [--model NAME]`."""

import argparse
import asyncio
import json

from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, query


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("question")
    parser.add_argument("--continue", dest="goes_on", action="store_true")
    parser.add_argument("--model")
    given = parser.parse_args()
    options = ClaudeAgentOptions(continue_conversation=given.goes_on, model=given.model)
    async for message in query(prompt=given.question, options=options):
        if isinstance(message, ResultMessage):
            print(json.dumps({"result": message.result, "is_error": message.is_error}))


asyncio.run(main())
