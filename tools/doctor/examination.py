"""The examination: checks in order, each within its time, none able to end the rest."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from tools.doctor.findings import Entry, Finding, Verdict, failed, not_measured
from wire_protocol.errors import ConfigError, EdgefedError

TIMEOUT_S: Final = 10.0
_REPORT: Final = "this is a defect of edgefed: please report it with this line"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """Something to find out.

    Attributes:
        name: One or two words.
        examine: Finds it out; an ``EdgefedError`` or ``OSError`` is a failure.
        timeout_s: How long that may take.
        needs: Names of earlier checks without whose success this one means nothing.
    """

    name: str
    examine: Callable[[], Awaitable[Finding]]
    timeout_s: float = TIMEOUT_S
    needs: tuple[str, ...] = ()


async def examination(
    checks: Sequence[Check], *, begun: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Entry]:
    """Yield what each check found; ``begun`` hears the name of each at its start."""
    verdicts: dict[str, Verdict] = {}
    for check in checks:
        begun(check.name)
        lacking = [
            need
            for need in check.needs
            if verdicts.get(need) in (Verdict.FAILED, Verdict.NOT_MEASURED)
        ]
        if lacking:
            finding = not_measured(f"this needs '{lacking[0]}' in order first")
        else:
            finding = await _finding(check)
        verdicts[check.name] = finding.verdict
        yield Entry(check.name, finding)


def chosen(checks: Sequence[Check], names: Sequence[str]) -> list[Check]:
    """Return the checks called ``names`` and those that they need, in order.

    Raises:
        ConfigError: There is no check of such a name.
    """
    known = {check.name: check for check in checks}
    wanted: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in known:
            raise ConfigError(
                f"there is no check {name!r}", remedy=f"choose of: {', '.join(known)}"
            )
        if name not in wanted:
            wanted.add(name)
            left += known[name].needs
    return [check for check in checks if check.name in wanted]


async def _finding(check: Check) -> Finding:
    try:
        async with asyncio.timeout(check.timeout_s) as limit:
            return await check.examine()
    except EdgefedError as error:
        return failed(error.problem, remedy=error.remedy or _REPORT)
    except TimeoutError as error:
        if limit.expired():
            return failed(
                f"no answer in {check.timeout_s:g} s",
                remedy="ask again when the machine is less busy; if it stays so, look "
                "for a disk or network that hangs: dmesg | tail",
            )
        return failed(f"timed out: {error}", remedy=_REPORT)
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        missing = isinstance(error, FileNotFoundError)
        return failed(
            f"{named}{error.strerror or error}",
            remedy="correct its path, or make it"
            if missing
            else "run this as the user that edgefed runs as",
        )
    except Exception as error:  # noqa: BLE001 - a defect in one check must not hide the others
        return failed(f"{type(error).__name__}: {error}", remedy=_REPORT)


async def in_thread(call: Callable[[], T]) -> T:
    """Return what ``call`` does, in a thread that nobody has to wait for.

    A disk or a resolver that hangs must not keep the examination from its end, as the
    threads of asyncio's executor would.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, failure = None, None
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
            failure = error
        try:
            loop.call_soon_threadsafe(tell, result, failure)
        except RuntimeError:
            return  # the loop has ended; nobody asks any more

    threading.Thread(target=work, daemon=True).start()
    return await done
