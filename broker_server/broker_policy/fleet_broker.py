"""The broker of a fleet: a supervised mosquitto that follows the fleet's folder.

    async with fleet_broker(folder, path, listening=Listening("*", 8883)) as broker:
        ...  # whoever the fleet admits can connect to broker.port

Whenever members, claims or the broker's certificate change, its files are written anew
and it reads them; whoever was locked out loses the session as well.
"""

import asyncio
import contextlib
import getpass
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from broker_server.broker_policy.mosquitto_child import MosquittoChild
from broker_server.broker_policy.policy_folder import (
    ANYWHERE,
    COPIED,
    Listening,
    Policy,
    PolicyFolder,
)
from broker_server.broker_policy.program import Program, installed_program
from broker_server.broker_policy.takeover import HOLD_S, Bouncer
from broker_server.embedded_broker import free_port
from broker_server.fleet_folder import FleetFolder, RandomBytes, broker_hosts
from wire_protocol.errors import EdgefedError, RefusedError

_log = logging.getLogger("edgefed.broker")
WATCH_S: Final = 1.0
_RETRY_S: Final = 0.5
_RETRY_CAP_S: Final = 30.0
_STEADY_S: Final = 60.0


class FleetBroker:
    """A running broker; ``fleet_broker`` makes one."""

    def __init__(
        self,
        policy: PolicyFolder,
        program: Program,
        *,
        watch_s: float,
        clock: Callable[[], float],
        random: RandomBytes,
    ) -> None:
        self.listening = policy.listening
        self.program = program
        self.restarts = 0
        """How often mosquitto had to be started again."""
        self._policy = policy
        self._watch_s = watch_s
        self._clock = clock
        self._random = random
        self._child = MosquittoChild(program, policy.config)
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.listening.port

    @property
    def pid(self) -> int:
        """Of mosquitto, which changes when it is started again."""
        return self._child.pid

    async def start(self) -> Policy:
        """Write the configuration, start mosquitto, wait until it accepts connections.

        Raises:
            ConfigError: A file cannot be read or written.
            RefusedError: mosquitto does not start.
        """
        policy = await asyncio.to_thread(self._policy.write)
        await self._child.start()
        return policy

    async def stop(self) -> None:
        """End mosquitto."""
        for task in self._ending:
            task.cancel()
        if self._ending:
            await asyncio.wait(self._ending)
        await self._child.stop()

    async def keep_running(self) -> None:
        """Start mosquitto again whenever it ends, later and later if it always does."""
        loop = asyncio.get_running_loop()
        failures, began = 0, loop.time()
        while True:
            code = await self._child.ended()
            failures = 0 if loop.time() - began > _STEADY_S else failures + 1
            pause = min(_RETRY_CAP_S, _RETRY_S * 2 ** min(failures, 16))
            _log.error("mosquitto ended (code %d), again in %.1f s", code, pause)
            await asyncio.sleep(pause)
            began = loop.time()
            self._child = MosquittoChild(self.program, self._policy.config)
            self.restarts += 1
            try:
                await self._child.start()
            except (EdgefedError, OSError) as error:
                _log.error("%s", error)
            else:
                _log.warning("mosquitto runs again")

    async def follow(self, policy: Policy) -> None:
        """Bring mosquitto up to date with the fleet's folder, for ever."""
        seen, again, told = self._stamp(), True, ""
        while True:
            await asyncio.sleep(self._watch_s)
            try:
                stamp = self._stamp()
                # once more a moment after each change: clocks of files may stand still
                if stamp != seen or again:
                    again, seen = stamp != seen, stamp
                    policy = await self._refresh(policy)
                told = ""
            except (EdgefedError, OSError) as error:
                again = True
                if str(error) != told:
                    told = str(error)
                    _log.error("the fleet's folder cannot be followed: %s", error)

    async def _refresh(self, before: Policy) -> Policy:
        policy = await asyncio.to_thread(self._policy.write)
        if policy.changed:
            self._child.reload()
            _log.info("the fleet has changed, mosquitto reads its files again")
        names = {name for name, _ in policy.admitted}
        for name in policy.shut_since(before):
            # who has the name by now, with another key, comes back after one push
            hold_s = 0.0 if name in names else HOLD_S
            task = asyncio.create_task(self._end_session(name, hold_s=hold_s))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        return policy

    async def _end_session(self, name: str, *, hold_s: float) -> None:
        fleet = self._policy.fleet
        try:
            bouncer = Bouncer(
                self.listening.reached_at,
                self.port,
                authority=fleet.authority,
                authority_file=fleet.path / "authority.crt",
                folder=self._policy.path,
                clock=self._clock,
                random=self._random,
                hold_s=hold_s,
            )
            ended = await bouncer.end_session(name)
        except (EdgefedError, OSError) as error:
            _log.error("the session of %s cannot be ended: %s", name, error)
            return
        if ended:
            _log.info("%s is locked out, and its session has ended", name)
        else:
            _log.error("%s is locked out; whether its session ended is unknown", name)

    def _stamp(self) -> tuple[object, ...]:
        fleet = self._policy.fleet
        files = ((fleet.path / name).stat() for name in COPIED)
        return (*fleet.changed, *((one.st_mtime_ns, one.st_ino) for one in files))


@contextlib.asynccontextmanager
async def fleet_broker(
    fleet: FleetFolder,
    folder: Path,
    *,
    listening: Listening,
    watch_s: float = WATCH_S,
    clock: Callable[[], float] = time.time,
    random: RandomBytes = os.urandom,
) -> AsyncIterator[FleetBroker]:
    """Run the broker of ``fleet`` while the block runs.

    Args:
        fleet: Whose members may connect.
        folder: Where its configuration is written.
        listening: Port 0 is any free one.
        watch_s: How often to look whether the fleet has changed, in seconds.
        clock: Seconds since 1970.
        random: Makes keys and serial numbers.

    Raises:
        ConfigError: mosquitto is not installed, or a file cannot be read or written.
        RefusedError: The port is taken, mosquitto does not start, or its certificate
            is not for where it listens.
    """
    program = installed_program()
    if listening.reached_at not in broker_hosts(fleet.fleet):
        raise RefusedError(
            f"the broker's certificate is not for {listening.reached_at}, where it "
            "shall listen",
            remedy="listen on 0.0.0.0, or name that address beside the others in "
            "'edgefed fleet renew --host'",
        )
    host = "0.0.0.0" if listening.address == ANYWHERE else listening.address  # noqa: S104 - only probed
    listening = replace(listening, port=free_port(listening.port, host=host))
    policy = PolicyFolder(
        folder,
        fleet,
        listening=listening,
        dialect=program.dialect,
        acl_plugin=program.acl_plugin,
        # another user could read neither the files nor the signal of our end
        user=getpass.getuser(),
    )
    broker = FleetBroker(policy, program, watch_s=watch_s, clock=clock, random=random)
    try:
        first = await broker.start()
        # a defect in either must end us: nobody would be locked out any more
        async with asyncio.TaskGroup() as group:
            tasks = {
                group.create_task(broker.keep_running()),
                group.create_task(broker.follow(first)),
            }
            try:
                yield broker
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as several:
        if len(several.exceptions) == 1:
            raise several.exceptions[0] from None
        raise
    finally:
        await broker.stop()
