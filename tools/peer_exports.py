"""The peer's side of ``bench_imports``: runs in an environment that has torch and onnx.

    python tools/peer_exports.py FOLDER

Writes small networks as ONNX files into the folder, each by PyTorch's older exporter
and by its newer one, for one batch size and for any: ``NETWORK.EXPORTER.onnx``.
"""

import contextlib
import io
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Recurrent(nn.Module):  # type: ignore[misc] # torch is not installed here
    """A GRU and a dense layer on all of its states, on the last, or on its own last."""

    def __init__(self, use: str) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 5, batch_first=True)
        self.dense = nn.Linear(30 if use == "all" else 5, 2)
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        """Run it on ``x[N, L, C]``."""
        states, state = self.gru(x)
        match self.use:
            case "all":
                return self.dense(states.flatten(1))
            case "last":
                return self.dense(states[:, -1])
            case _:
                return self.dense(state[-1])


torch.manual_seed(0)
NETWORKS: dict[str, tuple[nn.Module, Tensor]] = {
    "mlp": (
        nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3)),
        torch.randn(2, 6),
    ),
    "image": (
        nn.Sequential(
            *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6()),
            *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3), nn.Softmax(1)),
        ),
        torch.randn(2, 2, 6, 6),
    ),
    "signal-mean": (
        nn.Sequential(
            *(nn.Conv1d(3, 8, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1)),
            *(nn.Flatten(), nn.Linear(8, 3)),
        ),
        torch.randn(2, 3, 12),
    ),
    "layer-norm": (
        nn.Sequential(nn.LayerNorm(3), nn.Flatten(), nn.Linear(18, 2)),
        torch.randn(2, 6, 3),
    ),
    "group-norm": (
        nn.Sequential(
            *(nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(144, 2)),
        ),
        torch.randn(2, 3, 6, 6),
    ),
    "autoencoder": (
        nn.Sequential(
            *(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU()),
            nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1, output_padding=1),
        ),
        torch.randn(2, 1, 8, 8),
    ),
    "upsampling": (
        nn.Sequential(
            *(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Upsample(scale_factor=2), nn.ConvTranspose2d(4, 2, 2, stride=2)),
            *(nn.AvgPool2d(2), nn.Conv2d(2, 1, 3, padding=1)),
        ),
        torch.randn(2, 1, 8, 8),
    ),
    "gru-all": (Recurrent("all"), torch.randn(2, 6, 3)),
    "gru-last": (Recurrent("last"), torch.randn(2, 6, 3)),
    "gru-state": (Recurrent("state"), torch.randn(2, 6, 3)),
    "tokens": (
        nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(24, 3)),
        torch.randint(0, 10, (2, 6)),
    ),
}


def main(folder: Path) -> None:
    """Write every network in every way."""
    warnings.simplefilter("ignore")
    older = {"dynamo": False, "input_names": ["x"]}
    newer = {"dynamo": True, "external_data": False}
    exporters: dict[str, dict[str, Any]] = {
        "older": older,
        "older-any-batch": older | {"dynamic_axes": {"x": {0: "batch"}}},
        "newer": newer,
        "newer-any-batch": newer | {"dynamic_shapes": ({0: torch.export.Dim("n")},)},
    }
    for name, (network, x) in NETWORKS.items():
        network.eval()
        for exporter, options in exporters.items():
            path = str(folder / f"{name}.{exporter}.onnx")
            with contextlib.redirect_stdout(io.StringIO()):
                torch.onnx.export(network, (x,), path, verbose=False, **options)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
