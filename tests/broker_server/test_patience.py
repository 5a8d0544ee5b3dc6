"""Graces: each runs once, and anew for a device that was back meanwhile."""

import asyncio

from broker_server.patience import SILENCE, GraceOver, Patience, Wakeup


def test_only_the_graces_of_who_is_still_absent_run_out() -> None:
    async def rehearse() -> None:
        woken: asyncio.Queue[Wakeup] = asyncio.Queue()
        patience = Patience(woken.put_nowait, resend_s=0.05 / SILENCE)
        patience.await_return(1, {"back"})
        patience.await_return(1, {"gone"})
        patience.await_return(1, {"back", "gone"})  # away again, with a new grace
        async with asyncio.timeout(5):
            over = [await woken.get(), await woken.get()]
        assert over == [GraceOver(1, "gone"), GraceOver(1, "back")]
        assert woken.empty()
        patience.close()

    asyncio.run(rehearse())
