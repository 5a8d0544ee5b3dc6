"""The wiring: the parts of a server that use the link, connected with each other."""

from asyncio import TaskGroup
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace

from broker_server.announcer import Announcer
from broker_server.clocks import Clocks
from broker_server.conduct import Conduct
from broker_server.config import ServerConfig
from broker_server.device_limits import DeviceLimits
from broker_server.distribution import Distribution
from broker_server.doorkeeper import Doorkeeper
from broker_server.enrolment_desk import EnrolmentDesk
from broker_server.intake import Intake
from broker_server.late_updates import memory_of
from broker_server.mailer import Mailer
from broker_server.outlets import Outlets
from broker_server.roster import Roster
from broker_server.round_events import Declined
from broker_server.store import Store
from broker_server.uplink import Uplink, max_update_bytes
from wire_protocol.link import Link
from wire_protocol.params import ParamLayout
from wire_protocol.topics import Topics


@dataclass(frozen=True, slots=True)
class Wiring:
    """What sends, and what takes in what is received.

    ``works`` go on beside the rounds for as long as there are rounds.
    """

    mailer: Mailer
    announcer: Announcer
    distribution: Distribution
    intake: Intake
    works: tuple[Callable[[], Coroutine[None, None, None]], ...]


def wire(
    config: ServerConfig,
    link: Link,
    *,
    group: TaskGroup,
    store: Store,
    clocks: Clocks,
    layout: ParamLayout,
    tip: Callable[[], int],
    roster: Roster,
    tell: Callable[[Declined], None],
) -> Wiring:
    """Return the parts for a model of ``layout``; their tasks run in ``group``.

    ``tip`` tells the newest version; ``tell`` takes what a round must hear.
    """
    topics = Topics(config.server.fleet)
    mailer = Mailer(link, group)
    max_bytes = max_update_bytes(layout.federated.size)
    limits = DeviceLimits(
        config.limits, max_update_bytes=max_bytes, block_bytes=config.server.block_bytes
    )
    announcer = Announcer(mailer, topics, resend_s=config.server.resend_s)
    distribution = Distribution(
        topics,
        mailer.send,
        block_bytes=config.server.block_bytes,
        resend_s=config.server.resend_s,
        check_limits=limits.check_need,
    )
    outlets = Outlets(
        answer=announcer.receipt,
        withdraw=announcer.clear,
        ask=lambda device, need: distribution.ask(need, device=device),
        need=announcer.need,
        note_device=lambda device, check_in: store.note_device(
            device, check_in, at=clocks.wall()
        ),
        note_offence=Conduct(config, store).offended,
    )
    if roster.folder is not None:
        outlets = replace(
            outlets,
            # both are made below, for they need the intake
            enrol=lambda claim, raw: desk.take_request(claim, raw),  # noqa: PLW0108
            renew=lambda device, raw: desk.take_renewal(device, raw),  # noqa: PLW0108
            knock=lambda device, rest: doorkeeper.knock(device, rest),  # noqa: PLW0108
        )
    uplink = Uplink(
        config.server.state_dir / "uploads",
        window=config.server.window,
        max_bytes=max_bytes,
        max_per_device=config.limits.transfers,
        admits=lambda device: device in intake.registry.devices,
    )
    intake = Intake(
        topics,
        outlets,
        memory=memory_of(store, config, layout=layout.digest, tip=tip),
        uplink=uplink,
        size=layout.federated.size,
        roster=roster,
        check_limits=limits.check_message,
    )
    if roster.folder is None:
        return Wiring(mailer, announcer, distribution, intake, (distribution.run,))
    days = config.security.certificate_days
    doorkeeper = Doorkeeper(
        roster.folder,
        roster=roster,
        intake=intake,
        store=store,
        tell=tell,
        post=mailer.post,
        days=days,
        clocks=clocks,
    )
    desk = EnrolmentDesk(
        roster.folder, answered=doorkeeper.answered, days=days, clocks=clocks
    )
    works = (distribution.run, doorkeeper.run, desk.run)
    return Wiring(mailer, announcer, distribution, intake, works)
