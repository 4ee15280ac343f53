"""The virtual clock: timers fire in order, at their times, without waiting."""

import asyncio

from dual_mode_streaming.testing import VirtualClockLoop, run_with_virtual_clock


def test_a_day_passes_at_once_and_in_order():
    log = []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        log.append((seconds, asyncio.get_running_loop().time()))

    async def main() -> str:
        assert isinstance(asyncio.get_running_loop(), VirtualClockLoop)
        await asyncio.gather(*(sleeper(seconds) for seconds in (86_400, 1, 3600)))
        return "done"

    assert run_with_virtual_clock(main()) == "done"  # in real time the test timeout would end it
    assert [round(slept) for slept, _ in log] == [1, 3600, 86_400]
    assert all(abs(slept - now) < 0.01 for slept, now in log)


def test_time_passes_only_when_nothing_can_run():
    async def main() -> None:
        loop = asyncio.get_running_loop()
        asyncio.get_running_loop().call_later(1, lambda: None)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert loop.time() == 0

    run_with_virtual_clock(main())


def test_timeouts_are_virtual_too():
    async def main() -> float:
        try:
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        except TimeoutError:
            return asyncio.get_running_loop().time()
        raise AssertionError("the timeout did not fire")

    assert 3600 <= run_with_virtual_clock(main()) < 3601


def test_without_a_timer_the_loop_waits_for_threads():
    async def main() -> str:
        return await asyncio.to_thread(lambda: "from a thread")

    assert run_with_virtual_clock(main()) == "from a thread"
