"""The processors of genai-processors on our streams; run in an environment that has both.

Its module `streams` is replaced by ours before anything is imported. What is checked of each way to
combine processors: the items and their order, errors, reserved substreams, and concurrency.
"""

import asyncio
import functools
import sys
import types

from dual_mode_streaming import streams

ours = types.ModuleType("genai_processors.streams")
vars(ours).update({name: getattr(streams, name) for name in streams.__all__})
# As docs/streams.md says of its queues, and of the name of a parameter.
ours.enqueue = functools.partial(streams.enqueue, end=None)
ours.dequeue = functools.partial(streams.dequeue, end=None)
ours.merge = lambda *s, queue_maxsize=64, **options: streams.merge(
    *s, maxsize=queue_maxsize, **options
)
sys.modules["genai_processors.streams"] = ours

from genai_processors import cache, content_api, map_processor, processor  # noqa: E402

Part = content_api.ProcessorPart


@processor.processor_function
async def twice(content):
    async for part in content:
        yield part
        yield part


@processor.processor_function
async def same(content):
    async for part in content:
        yield part


def insert(text, match=None):
    async def insert(part: Part):
        yield Part(text)
        yield part

    insert.__annotations__["part"] = Part
    return processor.part_processor_function(insert, match_fn=match or (lambda part: True))


def meeting(text, present, count):
    """A stage in which one part waits until as many parts wait in theirs."""

    class Meeting(processor.PartProcessor):
        async def call(self, part):
            if part.text == text:
                present.append(text)
                async with asyncio.timeout(60):
                    while len(present) < count:
                        await asyncio.sleep(0.01)
            yield part

    return Meeting()


def fails(kind):
    if kind == "part":

        class Fails(processor.PartProcessor):
            async def call(self, part):
                if part.text == "bad":
                    raise ValueError("bad part")
                yield part

        return Fails()

    @processor.processor_function
    async def failing(content):
        async for part in content:
            if part.text == "bad":
                raise ValueError("bad part")
            yield part

    return failing


def texts(what, parts):
    return [part.text for part in processor.apply_sync(what, [Part(text) for text in parts])]


def check_the_module_is_ours():
    for module in (processor, map_processor, cache):
        used = getattr(module, "streams", ours)
        assert used is ours, module
    assert processor.stream_content is streams.stream_content


def check_chains():
    one, two = insert("1"), insert("2")
    assert texts(twice + twice, "ab") == [*"aaaabbbb"]
    assert texts(one + two, "0") == [*"2120"]
    assert texts(one + (one + two), "0") == texts((one + one) + two, "0") == [*"21212120"][:8]
    assert texts(twice + one + two, "0") == [*"21202120"]
    assert texts(one + two + twice, "0") == [*"22112200"]
    assert texts(one.to_processor() + two.to_processor(), "0") == [*"2120"]
    assert texts(processor.chain([one, two.to_processor(), one]), "0") == [*"12111210"]
    assert texts(processor.passthrough() + one + processor.passthrough(), "0") == [*"10"]
    assert texts(processor.create_filter(lambda part: part.text != "a"), "aba") == ["b"]


def check_side_by_side():
    one, two = insert("1"), insert("2")
    assert texts(one // two, "0a") == [*"10201a2a"]
    assert texts(one // two // one, "0") == [*"102010"]
    assert texts((one + two) // one, "0") == [*"212010"]
    assert texts(processor.parallel_concat([twice, same]), "ab") == [*"aabbab"]
    assert texts(processor.chain([processor.parallel([one, two]), one]), "0") == [*"11101210"]
    never = insert("3", match=lambda part: False)
    assert texts(never // processor.PASSTHROUGH_FALLBACK, "ab") == [*"ab"]
    assert texts(never // never, "ab") == []
    assert texts(one // processor.PASSTHROUGH_ALWAYS, "0") == [*"100"]


def check_errors():
    for kind in ("part", "whole"):
        for what in (
            fails(kind),
            fails(kind) + twice,
            twice + fails(kind),
            same + fails(kind) + same,
            processor.parallel_concat([fails(kind).to_processor(), same]),
        ):
            message = "no error"
            try:
                texts(what, ["good", "bad", "late"])
            except ValueError as error:
                message = str(error)
            assert message == "bad part", what


def check_reserved_substreams():
    seen = set()

    @processor.processor_function
    async def notes(content):
        async for part in content:
            seen.add(part.substream_name)
            yield processor.status("busy")
            yield part

    parts = [Part("data"), Part("debug", substream_name="debug")]
    got = processor.apply_sync(notes + notes, parts)
    assert seen == {""}, seen
    assert sorted(part.substream_name for part in got) == ["", "debug", "status", "status"]


def check_it_is_concurrent():
    numbers = [str(number) for number in range(100)]
    present = []
    stages = (meeting(number, present, len(numbers)) for number in numbers)
    assert texts(sum(stages, same), numbers) == numbers


def check_caches():
    calls = []

    @processor.processor_function
    async def counted(content: content_api.ContentStream):
        calls.append(1)
        yield f"processed:{await content.text()}"

    async def program():
        cached = processor.CachedProcessor(counted, default_cache=cache.InMemoryCache())
        for _ in range(2):
            got = await processor.apply_async(cached, ["A"])
            assert content_api.as_text(got) == "processed:A"
            await asyncio.sleep(0.01)
        assert len(calls) == 1

    asyncio.run(program())


def check_sources():
    @processor.source(stop_on_first=False)
    async def numbers():
        for number in range(3):
            yield str(number)

    async def program():
        got = await processor.apply_async(numbers() + twice, ["a"])
        assert sorted(part.text for part in got) == sorted("001122aa")

        async with processor.context():
            joined = processor.process_streams_parallel(
                twice, [streams.stream_content([Part(text)]) for text in "ab"]
            )
            assert [part.text async for part in joined] == [*"aabb"]

    asyncio.run(program())


if __name__ == "__main__":
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            check()
            print(name.removeprefix("check_"))
