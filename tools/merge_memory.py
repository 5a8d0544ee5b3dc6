"""The peak memory of a merge: a process that merges the stored updates of one round.

    python -m tools.merge_memory FOLDER MODE

Prints the MiB by which the process grew over what it held before, at its highest. The
folder is one that ``fill`` made: the state of a server whose round is about to merge,
in a mode of its guard.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, get_args

import numpy as np

from broker_server.artifact import load_artifact
from broker_server.clipping import norm_of
from broker_server.clocks import Clocks
from broker_server.config import (
    CodecSection,
    ModelSection,
    ServerConfig,
    ServerSection,
)
from broker_server.guard_settings import GuardMode, GuardSection
from broker_server.model_line import ModelLine
from broker_server.records import Participant, Update
from broker_server.store import Store
from wire_protocol.codecs import codec_named
from wire_protocol.framing import frame
from wire_protocol.manifest import FileRef, Manifest, SelfTest
from wire_protocol.messages import ClientUpdate
from wire_protocol.params import ParamLayout, ParamSpec, Vector

ROOT: Final = Path(__file__).parents[1]
ROUND: Final = 1


def update_frame(delta: Vector, *, codec: str, examples: int) -> bytes:
    """Return the frame of an update, as a server stores it."""
    head = ClientUpdate(
        round=ROUND,
        base="0" * 16,
        layout="0" * 16,
        codec=codec,
        num_examples=examples,
        steps=1,
        loss=0.0,
        train_s=0.0,
        bytes_down=0,
        evaluation=None,
    )
    return frame(head, codec_named(codec).encode(delta))


def write_artifact(folder: Path, *, values: int) -> None:
    """Write an artifact of one tensor; a server never looks into its files."""
    content = b"no model"
    manifest = Manifest(
        name="one-tensor",
        task="classification",
        input_shape=(1,),
        outputs=2,
        batch=1,
        layout=ParamLayout((ParamSpec("w", (values,)),)),
        files={
            "model.tflite": FileRef(len(content), hashlib.sha256(content).hexdigest())
        },
        selftest=SelfTest((0.0,), (0.0,), 0.0, 0.1, 0.9, 0.0, 1e-3),
    )
    (folder / "model.tflite").write_bytes(content)
    (folder / "manifest.json").write_bytes(manifest.to_json())


def config_in(folder: Path, mode: GuardMode = "mean") -> ServerConfig:
    """Return the configuration of the server whose state is in ``folder``."""
    return ServerConfig(
        server=ServerSection(folder / "state"),
        model=ModelSection(str(folder)),
        codec=CodecSection(uplink="f32"),
        guard=GuardSection(mode=mode),
    )


def fill(folder: Path, *, codec: str, clients: int, values: int) -> None:
    """Write the state of a server with an open round of ``clients`` updates."""
    write_artifact(folder, values=values)
    config = config_in(folder)
    drawn = (np.random.default_rng(0).standard_t(3, values) / 100).astype(np.float32)
    with Store.open(config.server.state_dir) as store:
        ModelLine(config, load_artifact(folder), store)
        devices = [f"device-{number:03}" for number in range(clients)]
        store.open_round(ROUND, version=0, cohort=tuple(devices), started=0.0)
        for number, device in enumerate(devices):
            payload = update_frame(
                np.roll(drawn, number), codec=codec, examples=100 + number
            )
            one = Participant(
                round=ROUND,
                version=0,
                device=device,
                transfer=f"{number:032x}",
                runtime="none",
                num_examples=100 + number,
                steps=1,
                loss=0.0,
                train_s=0.0,
                bytes_up=len(payload),
                bytes_down=0,
                evaluation=None,
                norm=norm_of(np.roll(drawn, number)),
            )
            store.keep_update(Update(one, payload))
        store.begin_merge(ROUND, store.update_log.pending())


def measured_peak(
    codec: str, *, clients: int, values: int, mode: GuardMode = "mean"
) -> float:
    """Return the MiB that merging takes at its peak, above idle."""
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name), codec=codec, clients=clients, values=values)
        run = subprocess.run(
            [sys.executable, "-m", "tools.merge_memory", name, mode],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
    return float(run.stdout)


def merge(folder: Path, mode: GuardMode = "mean") -> str:
    """Merge the round; return the digest of what devices hold then."""
    config = config_in(folder, mode)
    with Store.open(config.server.state_dir) as store:
        line = ModelLine(config, load_artifact(folder), store)
        before = _status_kib("VmRSS")
        tip = line.merge(ROUND, began=0.0, clocks=Clocks(), refused={})
        print((_status_kib("VmHWM") - before) / 1024)
    return tip.keyframe.sha256


def _status_kib(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise AssertionError(field)


if __name__ == "__main__":
    (chosen,) = (mode for mode in get_args(GuardMode) if mode == sys.argv[2])
    merge(Path(sys.argv[1]), chosen)
