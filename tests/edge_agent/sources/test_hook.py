"""The hook: what it may yield, where it goes on, and how its failure is told."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.data_settings import DataSettings, PythonSettings, StoreSettings
from edge_agent.feeding import Fed, open_examples
from edge_agent.sources.hook import example_of, load_hook
from edge_agent.state_files import StateFiles
from wire_protocol.errors import ConfigError

GOOD = """
import numpy as np

def examples(start):
    for number in range(start, 30):
        yield np.full(3, number), number % 2
"""


def fed(folder: Path, code: str, **store: float) -> Fed:
    (folder / "sensor.py").write_text(code)
    settings = DataSettings(
        source="python",
        python=PythonSettings(file=folder / "sensor.py"),
        store=StoreSettings(flush_s=0.1, flush_examples=5, **store),  # type: ignore[arg-type]
    )
    return open_examples(settings, files=StateFiles(folder / "state"))


def run_until(opened: Fed, enough: Callable[[], bool]) -> int:
    """Let a feed run until there is enough; return how often there was news."""
    news = 0
    assert opened.feed is not None
    feed = opened.feed

    async def go() -> None:
        done = asyncio.Event()

        def tell() -> None:
            nonlocal news
            news += 1
            if enough():
                done.set()

        running = asyncio.ensure_future(feed.run(tell))
        waiting = asyncio.ensure_future(done.wait())
        async with asyncio.timeout(20):
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        waiting.cancel()
        try:
            await running
        except asyncio.CancelledError:
            pass
        finally:
            feed.close()

    asyncio.run(go())
    return news


def values(opened: Fed) -> list[int]:
    taken = opened.store.snapshot("")
    assert (taken.training.y == taken.training.x[:, 0] % 2).all()
    return sorted(np.concatenate([taken.training.x, taken.holdout.x])[:, 0].astype(int))


def test_a_batch_is_taken_once_over_restarts(tmp_path: Path) -> None:
    for _ in range(2):
        opened = fed(tmp_path, GOOD)

        def all_there(opened: Fed = opened) -> bool:
            return len(values(opened)) == 30

        if not all_there():
            assert run_until(opened, all_there) >= 1
        assert values(opened) == list(range(30))
    again = fed(tmp_path, GOOD.replace("30", "40"))
    run_until(again, lambda: len(values(again)) == 40)
    assert values(again) == list(range(40))


def test_an_endless_hook_ends_with_the_agent(tmp_path: Path) -> None:
    opened = fed(
        tmp_path,
        "import itertools\n\ndef examples(start):\n"
        "    return (([n, n, n], n % 2) for n in itertools.count(start))\n",
        max_examples=200,
    )
    before = threading.active_count()
    run_until(opened, lambda: opened.store.count() > 20)
    assert len(values(opened)) <= 200
    for thread in threading.enumerate():
        if thread.name == "examples":
            thread.join(5)
    assert threading.active_count() <= before


FAILING: dict[str, tuple[str, str]] = {
    "an exception": (
        "def examples(start):\n    yield [1.0], 1\n    raise ValueError('no\\nbus')\n",
        "failed after 1 examples: ValueError: no",
    ),
    "a text": ("def examples(start):\n    yield 'a', 1\n", "str|tuple is no example"),
    "another shape": (
        "def examples(start):\n    yield [1.0], 1\n    yield [1.0, 2.0], 1\n",
        r"an example has x \[2\]",
    ),
    "another kind of target": (
        "def examples(start):\n    yield [1.0], 1\n    yield [1.0], 0.5\n",
        "an example has x",
    ),
    "not a number": (
        "def examples(start):\n    yield [float('nan')], 1\n",
        "not finite",
    ),
    "a wrong signature": ("def examples():\n    yield [1.0]\n", "TypeError"),
    "nothing to go through": ("def examples(start):\n    return 3\n", "TypeError"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_hook_that_fails_ends_in_one_clear_line(tmp_path: Path, name: str) -> None:
    code, problem = FAILING[name]
    opened = fed(tmp_path, code)
    with pytest.raises(ConfigError, match=problem) as caught:
        run_until(opened, lambda: False)
    assert "docs/examples.md" in caught.value.remedy or "shape" in caught.value.remedy
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import nothing_like_it\n", "cannot be imported: ModuleNotFoundError"),
        ("def examples(:\n", "cannot be imported: SyntaxError"),
        ("x = 1\n", "has no function 'examples'"),
        ("examples = 3\n", "has no function 'examples'"),
    ],
)
def test_a_hook_that_is_none_is_told_at_the_start(
    tmp_path: Path, code: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        fed(tmp_path, code)


def test_a_module_may_be_the_hook() -> None:
    hook = load_hook(
        PythonSettings(module="tests.edge_agent.sources.test_hook", function="two")
    )
    assert len(list(hook(0))) == 2
    with pytest.raises(ConfigError, match="cannot be imported"):
        load_hook(PythonSettings(module="tests.nothing_like_it"))


def two(_start: int) -> Iterable[object]:
    return [np.zeros(2), np.ones(2)]


ITEMS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)


@given(item=ITEMS)
def test_whatever_a_hook_yields_is_an_example_or_a_typed_error(item: object) -> None:
    try:
        x, y = example_of(item)
    except ConfigError:
        return
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    assert y.dtype in (np.int32, np.float32)
    assert (y.ndim == 0) == (y.dtype == np.int32)


def test_a_hook_waits_when_the_card_has_had_enough(tmp_path: Path) -> None:
    given_code = GOOD.replace("30", "10**9")
    opened = fed(tmp_path, given_code, write_mib_a_day=0.1, max_examples=100_000)
    run_until(opened, lambda: opened.store.count() > 100)
    found = values(opened)
    assert found == list(range(len(found)))
    assert len(found) * 20 < 0.1 * (1 << 20) / 24 + 1000
