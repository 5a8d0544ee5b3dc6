"""Windows of a water pump's eight sensors: 34 experiments and one run without.

An example is 32 seconds at 1 Hz, shape ``[32, 8]``: two accelerometers, current,
pressure, temperature, thermocouple, voltage and volume flow. The first 400 seconds of a
run (the benchmark's own calibration part) commission it: every value is told as how far
it is from their mean, in their standard deviations, and limited to 3 of them, for a
sensor that leaves its range has left it, however far. A device does the same with
``relative`` and what it measured when it was set up.

The windows of that part train, those of 27 runs. Every fourth experiment of each kind
judges instead, by what follows its calibration: there a window is anomalous (1) when
any of its seconds is. Hold-out and unseen are the same. What follows in the other runs
is no example: sensors drift there with nothing wrong, and autoencoders that trained on
it too told anomalies of other runs less well (mean ROC area 0.85 instead of 0.87).

It is one testbed: a client is an experiment, not a machine of its own, so runs of one
kind resemble each other more than pumps in the field would. Experiments differ in speed
(32, 76 or 126 l/min) and in what goes wrong: valves closing, leaks, rotor imbalance,
cavitation, hot water. One of them is partly anomalous while it is calibrated already;
it stays in, for nobody would know, but those windows do not train.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_zoo.data import skab_files
from model_zoo.data.dataset import Dataset, Examples
from model_zoo.data.fetch import Download
from model_zoo.data.origin import Origin
from wire_protocol.errors import ConfigError
from wire_protocol.npz import Array

RUNS: Final = (
    "anomaly-free/anomaly-free",
    *(f"valve1/{number}" for number in range(16)),
    *(f"valve2/{number}" for number in range(4)),
    *(f"other/{number}" for number in range(1, 15)),
)
"""Folder and file of every run; a client's number is its place here."""

UNSEEN: Final = frozenset(
    f"{kind}/{number}"
    for kind, numbers in (
        ("valve1", (3, 7, 11, 15)), ("valve2", (3,)), ("other", (4, 8, 12)),
    )
    for number in numbers
)  # fmt: skip

WINDOW: Final = 32
HOP: Final = 8
CALIBRATION: Final = 400
GAP_S: Final = 5
"""No window goes over a longer pause."""
LIMIT: Final = 3.0

_DIGESTS: Final = (
    "7641a8742957100ef424dd97adfb3eeab27d4d180645fe2b3c49b7f7146ae9a6",
    "16af3f71313a23dd33d9b7b8065d836d05c3f9257588881cc7fbe07c076d9dc8",
    "fe4493bf805baef4e6dfb864094275d8cc2ea80a16b3735e2752b18b6aefd812",
    "90492413469261886c8896c327241448df5da73fd7739cabfec8dd82de3c0ce4",
    "cb6afea108eddfd8447307e405f86bbb764b8d8e9130d7849a46e1303e19b8b2",
    "983aed9dc09991a57911091373c580e1b86d06aa983cd51678f108fd8d709654",
    "78974991ec87b7f9b9b6b2944f4b525468a9beb36c59b06cd7650d9a15eca14a",
    "97469c0e0c9c0e0ee5d30794f1f36c6785df5816a112a8b16c59637e8c894685",
    "ca2c9c6d6fa302c642acec6fbedac495bd12fececeee0a755d45a54e340e0f30",
    "0c4afb92248b5b35b4c9d734a91ed8318346901f04579074903730569e60416c",
    "2aa1ae1b2ff505caecda24802b877dc686924bbbeeb7e7db4faa261efb5ed5bd",
    "ee16be8e4b870c779491e3d1dc9e0ecbfaf29eb013e032abff7a33f2cbbfe2ad",
    "89660fae4ed5c918db014409bbbc29f498fd99c7e956fab2620d18dea700a973",
    "90adfa9bc86d4556e6a4ce734436fd5685af79c189cd9828f8df75a7f468ce07",
    "d6cb6a97437215d3066a87e1fcc5fa4e68017629c043c5315920e3cf1060841c",
    "5f0bb9bc33c5e6c259263e32e25915c4d24c82b0a94554d48808626da05c1d71",
    "75cc86ab25d7091eee024739fa06d048753480d5d7d1507077231cab4f1b7a7e",
    "a6670e7a68c7c6ba62c649bd9d350633e80db624578e9529f2b736ced5e32bde",
    "b35d27f664eb0851ab73e5eb06633404c7eeaf532edff7e40c68eb9379f2012b",
    "2c3005cf28b88db715b7f4694e826ff252cba4dbb1eba679b040961f80477e60",
    "86927555d5c523e587d41500bd5dee4e2468289ec1b988ac17755aeae697d7f8",
    "3beaf861bdfe9b4f4eff8e7567c1dd3f506fbd0ce667fc9399d04bd2dc70623d",
    "951c326bf36366fa7615b8f28d22f80b3878036069a690f42b3e223737a6a8d1",
    "f3c19a89f74f62a475c246b9263f161f7a734dd88304de803939cebaa55c7ebd",
    "56ca23f4eb61d1347d079eb9a35c60a59b8b64e160c00dd0c2ec69e0df0b2a4b",
    "7347b326df3a92c0810c69add0e5621939af7a1c1cb4755081d088e72d36920f",
    "eb8f05622a62c855040ea358b87be35fb1a4a3720ba0610569bab384db4b6e04",
    "1bee14f49bfc817ba2c335fb427baa71153d8f8ab52e72652f15f74e4b77daec",
    "12c138ed99c198e0a7ece886fe01bfd16bbdde206fad6c5d74322b6b9d6488d0",
    "11c4514b0bc706acff637fea6707ad9258ac878fe9dff3d0b11d2b618d94d8ea",
    "72683644f6f17689f619076a66a9ec02cbc0502bd669924c4c33951d1bdad9b0",
    "98a2fff3b6516205ae2e12f2dd30d7f08465fe4321a1bd5cf823396985ecb37b",
    "b0882efbcf2669223ae78bee61c9f10074a9b2375f0e86b8957ae5ce4aad1e72",
    "b3f1da02064d11234836a9fa1a2536bb0d3b6c6998ab60b0b71869b98e94d860",
    "c7f361e55397cc9efd4a76b6876111eda79b650d10aeb007342ca5972152eaef",
)
_RAW: Final = (
    "https://raw.githubusercontent.com/waico/SKAB/"
    "b2c0d46c2971dcbfe71e26087b6d231998bb91c2/data"
)

ORIGIN: Final = Origin(
    name="skab",
    folder="skab",
    arrays={
        "x": ("f", 2),
        "y": ("u", 1),
        "client_id": ("u", 1),
        "time": ("i", 1),
    },
    max_bytes=4 * 1024 * 1024,
    content_sha256="ed3dfa0cb90cb8a39e79d960bef59b809e7c08548df21dc5337ba6129daf68e9",
    downloads=tuple(
        Download(f"{_RAW}/{run}.csv", digest)
        for run, digest in zip(RUNS, _DIGESTS, strict=True)
    ),
    convert=skab_files.convert,
    source="https://github.com/waico/SKAB",
    licence="GPL-3.0",
    citation=(
        "Katser, Kozitsin, Skoltech Anomaly Benchmark (SKAB), Kaggle 2020, "
        "10.34740/KAGGLE/DSV/1693952"
    ),
)


def relative(x: NDArray[np.floating], *, calibration: NDArray[np.floating]) -> Examples:
    """Tell samples relative to those that a machine gave when it was set up.

    Args:
        x: Samples or windows, shape ``[..., channels]``.
        calibration: Samples of normal work, shape ``[samples, channels]``.

    Returns:
        Deviations from their mean in their standard deviations, within ``LIMIT``.

    Raises:
        ConfigError: A sensor never moved in the calibration, so it has no scale.
    """
    mean, deviation = calibration.mean(0), calibration.std(0)
    if not (deviation > 0).all():
        raise ConfigError(
            "a sensor gave one value throughout its calibration",
            remedy="calibrate for longer, or leave that sensor out",
        )
    told: Examples = ((x - mean) / deviation).astype(np.float32)
    return told.clip(-LIMIT, LIMIT)


def window_starts(time: NDArray[np.integer], *, cut: int) -> NDArray[np.intp]:
    """Where windows begin that cross neither ``cut`` nor a pause.

    Args:
        time: Seconds, ascending, shape ``[rows]``.
        cut: The row at which the calibration ends.
    """
    pauses = np.flatnonzero(np.diff(time) > GAP_S) + 1
    edges = np.unique([0, *pauses.tolist(), min(cut, len(time)), len(time)])
    return np.concatenate(
        [
            np.arange(start, end - WINDOW + 1, HOP)
            for start, end in pairwise(edges.tolist())
        ]
    )


def assemble(arrays: Mapping[str, Array]) -> Dataset:
    """Make the set of verified ``arrays``; this function is pure.

    Raises:
        ConfigError: The arrays contradict each other.
    """
    runs = np.unique(arrays["client_id"]).tolist()
    if not runs or runs[-1] >= len(RUNS):
        raise ConfigError(f"skab has runs 0 to {len(RUNS) - 1}, not {runs}")
    parts = [_cut(arrays, run) for run in runs]
    x, y, client = (np.concatenate(part) for part in zip(*parts, strict=True))
    unseen = np.array([run in UNSEEN for run in RUNS])[client]
    return Dataset(
        name=ORIGIN.name,
        x=x,
        y=y,
        held_out=unseen,
        unseen=unseen,
        client=client,
        clients=tuple(run.replace("/", "-") for run in RUNS),
        task="reconstruction",
    )


def _cut(
    arrays: Mapping[str, Array], run: int
) -> tuple[Examples, NDArray[np.int32], NDArray[np.int32]]:
    """Cut one run into windows, their labels, and the run's number for each.

    Raises:
        ConfigError: A sensor never moved while the run was calibrated.
    """
    mine = arrays["client_id"] == run
    x = arrays["x"][mine].astype(np.float64)
    y = arrays["y"][mine].astype(np.int32)
    starts = window_starts(arrays["time"][mine].astype(np.int64), cut=CALIBRATION)
    later = starts >= CALIBRATION
    starts = starts[later if RUNS[run] in UNSEEN else ~later]
    rows = starts[:, np.newaxis] + np.arange(WINDOW)
    told = relative(x, calibration=x[:CALIBRATION])
    return told[rows], y[rows].max(1, initial=0), np.full(len(starts), run, np.int32)
