"""A member that does not answer takes its own threads, and no other's."""

import asyncio
import threading

from agents.push.threads import MEMBER_THREADS, MemberThreads, own_threads


async def test_a_member_whose_threads_all_wait_delays_no_other() -> None:
    asyncio.get_running_loop().set_default_executor(MemberThreads(1))
    gate, waiting = threading.Event(), threading.Semaphore(0)

    def wait() -> None:
        waiting.release()
        gate.wait(20)

    async def stuck() -> None:
        with own_threads("stuck"):
            async with asyncio.TaskGroup() as group:
                for _ in range(MEMBER_THREADS + 2):
                    group.create_task(asyncio.to_thread(wait))

    async def lively() -> str:
        with own_threads("lively"):
            return await asyncio.to_thread(lambda: threading.current_thread().name)

    async with asyncio.TaskGroup() as group:
        group.create_task(stuck())
        await asyncio.to_thread(waiting.acquire)
        try:
            assert (await group.create_task(lively())).startswith("lively")
            assert not (await asyncio.to_thread(threading.current_thread)).name.startswith("li")
        finally:
            gate.set()
