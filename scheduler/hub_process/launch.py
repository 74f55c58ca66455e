"""Starts the process of the embedded hub, which imports its modules before it gets its plan.

Half of a start is imports. `kapok up` therefore starts this process first and imports the scheduler
meanwhile. The process opens no file before `HubChild.send_plan`: what decides whether the files may
be opened is checked until then.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import msgspec

from scheduler.hub_process.messages import HubPlan

_STOP_SECONDS = 10.0


@dataclass(slots=True)
class HubChild:
    """A process that becomes the hub once it has a plan.

    Attributes:
        process: the process; it ends when its standard input closes.
        messages: the descriptor on which it says `HubMessage`s; -1: another object reads it.
    """

    process: asyncio.subprocess.Process
    messages: int

    def send_plan(self, plan: HubPlan) -> None:
        """Has the process serve; one that has ended already gets nothing."""
        if self.process.stdin is not None:
            self.process.stdin.write(msgspec.json.encode(plan) + b"\n")

    def take_messages(self) -> int:
        """The descriptor of its messages, which the caller closes from now on."""
        taken, self.messages = self.messages, -1
        return taken

    async def stop(self) -> None:
        """Terminates the process, by SIGKILL after a time-out; may be called twice."""
        if self.messages >= 0:
            os.close(self.take_messages())
        if self.process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), _STOP_SECONDS)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


async def launch_child() -> HubChild:
    """Starts a process.

    Raises:
        OSError: it cannot be started.
    """
    said, written = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scheduler.hub_process.child", str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,  # closes with this process, and the hub ends
            stdout=written,
            # Ctrl-C reaches the scheduler alone, which still writes to the hub, then ends it.
            start_new_session=True,
        )
    except BaseException:
        os.close(said)
        raise
    finally:
        os.close(written)
    return HubChild(process, said)


@asynccontextmanager
async def child_launched_early() -> AsyncIterator[HubChild]:
    """A process that waits for its plan, and ends with the context at the latest.

    Raises:
        OSError: it cannot be started.
    """
    child = await launch_child()
    try:
        yield child
    finally:
        await child.stop()
