"""The client: retries before the first event and never after, timeouts, and what it closes."""

import asyncio
import logging
import subprocess
import sys

import pytest
from pydantic import ValidationError

from dual_mode_streaming.llm import (
    EventType,
    LLMClient,
    ProviderError,
    Simulator,
    StreamEvent,
    TextDelta,
    Usage,
    collect,
)
from dual_mode_streaming.testing import run_with_virtual_clock

COMPLETE = StreamEvent(type=EventType.MESSAGE_COMPLETE, finish_reason="stop", usage=Usage())


def text(content):
    return StreamEvent(type=EventType.TEXT_DELTA, text_delta=TextDelta(content=content))


class Scripted:
    """A provider that plays a list of steps an attempt: text, seconds to wait, or an error."""

    name = default_model = "scripted"

    def __init__(self, *attempts):
        self.attempts = list(attempts)
        self.times = []
        self.closed = 0
        self.tasks = set()

    async def stream(self, request):
        self.times.append(asyncio.get_running_loop().time())
        self.tasks.add(asyncio.current_task())
        try:
            for step in self.attempts.pop(0):
                match step:
                    case str():
                        yield text(step)
                    case StreamEvent():
                        yield step
                    case ProviderError():
                        raise step
                    case seconds:
                        await asyncio.sleep(seconds)
        finally:
            self.tasks.add(asyncio.current_task())
            self.closed += 1

    def estimate_tokens(self, request):
        return 7

    async def complete(self, request):
        return await collect(self.stream(request))

    async def aclose(self):
        pass


def talk(provider, *, stream=True, **options):
    async def program():
        client = LLMClient(provider, **options)
        events = [event async for event in client.chat_completion("Hello", stream=stream)]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return events

    return run_with_virtual_clock(program())


def refused(status=429, **options):
    kinds = {429: "rate_limit", 529: "overloaded", 400: "invalid_request"}
    return ProviderError("not now", kinds[status], status=status, **options)


@pytest.mark.parametrize("stream", [True, False])
def test_it_retries_until_the_first_event_as_long_as_it_is_asked_to_wait(stream):
    provider = Scripted(
        [refused(retry_after=7)], [3, refused(529, retry_after=4)], ["Hi", " you", COMPLETE]
    )
    events = talk(provider, stream=stream)
    assert provider.times == [0, 7, 14]
    assert provider.closed == 3
    if stream:
        assert events == [text("Hi"), text(" you"), COMPLETE]
    else:
        assert [event.message.content for event in events] == ["Hi you"]


def test_pauses_double_and_vary_where_nothing_is_asked_for():
    provider = Scripted(*[[ProviderError("lost", "connection")]] * 3, ["Hi", COMPLETE])
    talk(provider)
    gaps = [b - a for a, b in zip(provider.times, provider.times[1:], strict=False)]
    assert 0.5 <= gaps[0] <= 1.5
    assert 1 <= gaps[1] <= 2
    assert 2 <= gaps[2] <= 3


@pytest.mark.parametrize("error", [refused(400), refused(retry_after=31)])
def test_what_cannot_succeed_is_not_tried_again(error):
    provider = Scripted([error])
    (event,) = talk(provider)
    assert (event.type, event.error, event.status) == (EventType.ERROR, "not now", error.status)
    assert (event.attempt, event.partial, event.retry_after) == (1, "", error.retry_after)


def test_attempts_are_bounded_and_the_last_error_is_the_event():
    provider = Scripted(*[[refused(retry_after=1)]] * 3)
    (event,) = talk(provider, attempts=3)
    assert (event.error_type, event.attempt) == ("rate_limit", 3)
    assert provider.attempts == []


def test_nothing_is_retried_after_content_went_out():
    provider = Scripted(["Hi", " you", refused(529)], ["never"])
    *received, error = talk(provider)
    assert received == [text("Hi"), text(" you")]
    assert (error.type, error.error_type, error.partial) == (
        EventType.ERROR,
        "overloaded",
        "Hi you",
    )
    assert error.usage.output_tokens == 2
    assert len(provider.attempts) == 1


def test_an_answer_that_just_ends_is_no_answer():
    *_, error = talk(Scripted(["Hi"]))
    assert (error.error_type, error.partial) == ("stream_truncated", "Hi")


def test_the_first_event_has_a_limit_of_its_own_and_is_tried_again():
    provider = Scripted([30, "late"], ["Hi", COMPLETE])
    assert talk(provider, first_timeout=20) == [text("Hi"), COMPLETE]
    assert provider.closed == 2


def test_silence_between_events_ends_the_answer():
    provider = Scripted(["Hi", 8, " you", 11, "late"])
    *received, error = talk(provider, idle_timeout=10)
    assert [event.text_delta.content for event in received] == ["Hi", " you"]
    assert (error.error_type, error.partial) == ("timeout", "Hi you")
    assert provider.closed == 1


def test_a_limit_for_all_of_it():
    provider = Scripted([step for _ in range(100) for step in (1, "x")])
    *received, error = talk(provider, total_timeout=10.5)
    assert len(received) == 10
    assert error.error_type == "timeout"


def test_leaving_closes_the_provider_at_once_and_by_its_own_task(caplog):
    provider = Scripted(["Hi", 3600])
    ends = []

    async def program():
        client = LLMClient(provider, on_end=ends.append)
        stream = client.chat_completion("Hello")
        assert await anext(stream) == text("Hi")
        await stream.aclose()
        assert provider.closed == 1
        assert asyncio.get_running_loop().time() == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with caplog.at_level(logging.INFO):
        run_with_virtual_clock(program())
    assert len(provider.tasks) == 1
    (spent,) = ends
    assert (spent.outcome, spent.usage.output_tokens) == ("abandoned", 1)
    assert "llm scripted scripted: abandoned, 7 tokens in, 1 out, 1 attempts" in caplog.text


def test_a_cancelled_caller_stays_cancelled():
    provider = Scripted(["Hi", 3600])

    async def program():
        async def read():
            async for _ in LLMClient(provider).chat_completion("Hello"):
                pass

        reader = asyncio.create_task(read())
        await asyncio.sleep(5)
        reader.cancel()
        await asyncio.wait([reader])
        assert reader.cancelled()
        assert provider.closed == 1

    run_with_virtual_clock(program())


async def test_a_request_that_makes_no_sense_is_refused():
    client = LLMClient(Simulator())
    for messages, options, message in (
        ([], {}, "at least one"),
        ("Hi", {"max_tokens": 0}, "max_tokens"),
        ("Hi", {"maximum": 3}, "Extra inputs"),
        ([{"role": "robot", "content": ""}], {}, "role"),
        ([{"role": "tool", "content": "", "tool_call_id": "x"}], {}, "no call 'x'"),
        ("Hi", {"tool_choice": "required"}, "no tools"),
        ("Hi", {"stop": ("",)}, "must not be empty"),
    ):
        with pytest.raises(ValidationError, match=message):
            await anext(client.chat_completion(messages, **options))


async def test_the_default_is_the_simulator_of_the_settings(tmp_path, monkeypatch):
    path = tmp_path / "script.toml"
    path.write_text('[[reply]]\ntext = "by the script"')
    monkeypatch.setenv("DUAL_MODE_LLM_SCRIPT", str(path))
    answer = await collect(LLMClient().chat_completion("Hello"))
    assert answer.message.content == "by the script"
    monkeypatch.setenv("DUAL_MODE_LLM_RATE", "-1")
    with pytest.raises(ValueError, match="DUAL_MODE_LLM_RATE=-1: "):
        LLMClient()


def test_without_the_extra_it_is_said_what_to_install():
    program = (
        "import sys; sys.modules['stamina'] = None\n"
        "try: import dual_mode_streaming.llm.wire\n"
        "except ImportError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout == "dual_mode_streaming.llm needs: pip install 'dual-mode-streaming[llm]'\n"
