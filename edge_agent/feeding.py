"""The opening of a device's examples; each source is imported only if needed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.data_settings import DataSettings
from edge_agent.examples import ExampleStore
from edge_agent.state_files import StateFiles

if TYPE_CHECKING:
    from edge_agent.example_log import ExampleLog
    from edge_agent.segments import Form
    from edge_agent.sources.feed import Feed


@dataclass(frozen=True, slots=True)
class Fed:
    """A store of examples, and what fills it meanwhile; a file needs none."""

    store: ExampleStore
    feed: "Feed | None" = None


def open_examples(
    settings: DataSettings,
    *,
    files: StateFiles,
    clock: Callable[[], float] = time.monotonic,
) -> Fed:
    """Open the examples that ``settings`` name.

    Raises:
        ConfigError: They cannot be read, or the settings cannot be meant.
    """
    match settings.source:
        case "npz":
            assert settings.examples is not None
            return Fed(
                ExampleStore.load(
                    settings.examples, holdout=settings.holdout, seed=settings.seed
                )
            )
        case "folder":
            from edge_agent.sources.folder import (  # noqa: PLC0415
                FolderStore,
                folder_feed,
            )

            folder = FolderStore(settings)
            store = folder.as_store(min_examples=settings.store.min_examples)
            return Fed(store, folder_feed(folder, settings))
        case "python":
            from edge_agent.sources.hook import (  # noqa: PLC0415
                Hook,
                hook_feed,
                load_hook,
            )

            function = load_hook(settings.python)
            hooked = _log(settings, None, recipe=_name(settings), files=files)
            feed = hook_feed(Hook(function, log_=hooked), hooked, settings)
            return Fed(_store(hooked, settings), feed)
        case _:
            from edge_agent.sources.maker import Maker  # noqa: PLC0415
            from edge_agent.sources.sensors import (  # noqa: PLC0415
                Sensors,
                sensor_feed,
                wiring,
            )

            wired = wiring(settings)
            maker = Maker(settings, channels=wired.names)
            sensed = _log(settings, maker.form, recipe="", files=files, clock=clock)
            sensors = Sensors(wired, settings, maker=maker, log_=sensed)
            feed = sensor_feed(sensors, sensed, settings, clock=clock)
            return Fed(_store(sensed, settings), feed)


def _log(
    settings: DataSettings,
    form: "Form | None",
    *,
    recipe: str,
    files: StateFiles,
    clock: Callable[[], float] = time.monotonic,
) -> "ExampleLog":
    from edge_agent.example_log import ExampleLog, Limits  # noqa: PLC0415
    from edge_agent.holdout import Split  # noqa: PLC0415

    store = settings.store
    return ExampleLog(
        files,
        form=form,
        recipe=recipe,
        limits=Limits(
            examples=store.max_examples,
            mib=store.max_mib,
            waiting=store.flush_examples,
            mib_a_day=store.write_mib_a_day,
        ),
        split=Split(settings.holdout, settings.seed, settings.window.run),
        clock=clock,
    )


def _store(log: "ExampleLog", settings: DataSettings) -> ExampleStore:
    return log.as_store(_name(settings), min_examples=settings.store.min_examples)


def _name(settings: DataSettings) -> str:
    """Return what people are told the examples come from."""
    match settings.source:
        case "python":
            hook = settings.python
            return f"{hook.file or hook.module}:{hook.function}"
        case source:
            return f"source {source}"
