"""LiteLLM, with both wire formats."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch one from elsewhere

import litellm
from asking import RESULT, TOOLS, URL, seen, tell

litellm.suppress_debug_info = True  # it would print it


def ways(model, base):
    def complete(messages, **more):
        return litellm.completion(
            model=model,
            api_base=base,
            api_key="k",
            messages=messages,
            tools=TOOLS,
            max_tokens=1000,
            max_retries=0,
            **more,
        )

    def answer(whole):
        (choice,) = whole.choices
        made = choice.message.tool_calls or []
        return seen(
            choice.message.content,
            getattr(choice.message, "reasoning_content", None),
            [(call.function.name, call.function.arguments) for call in made],
            (whole.usage.prompt_tokens, whole.usage.completion_tokens),
            choice.finish_reason,
        )

    def asked(question):
        return [{"role": "user", "content": question}]

    def stream(question):
        chunks = complete(asked(question), stream=True, stream_options={"include_usage": True})
        return answer(litellm.stream_chunk_builder(list(chunks)))

    def round_trip(question):
        message = complete(asked(question)).choices[0].message
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": RESULT}
            for call in message.tool_calls
        ]
        final = complete([*asked(question), message.model_dump(exclude_none=True), *results])
        return final.choices[0].message.content

    return {
        "batch": lambda question: answer(complete(asked(question))),
        "stream": stream,
        "round": round_trip,
    }


tell(
    openai=ways("openai/simulator", f"{URL}/v1"),
    anthropic=ways("anthropic/simulator", URL),
)
