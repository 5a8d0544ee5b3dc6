"""The checkpoint of the training under way: one file, replaced after every epoch."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from edge_agent.state_files import StateFiles, StorageError
from edge_agent.training import GREATEST_LOSS, Checkpoint
from edge_agent.vectors import read_vectors, write_vectors
from wire_protocol.blobs import SHORT_DIGEST
from wire_protocol.errors import DecodeError
from wire_protocol.framing import frame
from wire_protocol.messages import RoundOffer

log = logging.getLogger(__name__)

FILE: Final = "checkpoint.vectors"
_MAX_SECONDS: Final = 1e9


class Checkpoints:
    """Saves and finds the checkpoint of one round's training, in ``folder``.

    It is bound to all that the training depends on: the offer, who trains, and on how
    many examples. What was saved for anything else is not found.
    """

    def __init__(
        self,
        files: StateFiles,
        folder: Path,
        *,
        offer: RoundOffer,
        device: str,
        num_examples: int,
    ) -> None:
        self._files = files
        self._path = folder / FILE
        self._epochs = offer.plan.epochs
        bound = frame(replace(offer, cohort=()), f"{device}/{num_examples}".encode())
        self._key = hashlib.sha256(bound).hexdigest()[:SHORT_DIGEST]
        self.failures = 0
        """Checkpoints that could not be written; training went on without."""

    def save(self, checkpoint: Checkpoint, *, seconds: float) -> None:
        """Save ``checkpoint``, which took ``seconds`` so far; failing is survived."""
        head = {
            "key": self._key,
            "epoch": checkpoint.epoch,
            "steps": checkpoint.steps,
            "loss": checkpoint.loss,
            "seconds": seconds,
        }
        vectors = checkpoint.params, checkpoint.state
        try:
            write_vectors(self._files, self._path, vectors=vectors, head=head)
        except StorageError as error:
            self.failures += 1
            log.warning("no checkpoint after epoch %d: %s", checkpoint.epoch, error)

    def load(self, *, size: int, state_size: int) -> tuple[Checkpoint, float] | None:
        """Return the last checkpoint of this training, and the seconds it took."""
        if not self._path.exists():
            return None
        try:
            found = read_vectors(self._path)
            head = found.head
            if head.digest("key", digits=SHORT_DIGEST) != self._key:
                return None
            params, state = found.of_sizes(size, state_size)
            checkpoint = Checkpoint(
                epoch=head.whole("epoch", least=1, most=self._epochs),
                steps=head.whole("steps", least=1),
                loss=head.real("loss", least=-GREATEST_LOSS, most=GREATEST_LOSS),
                params=params,
                state=state,
            )
            return checkpoint, head.real("seconds", least=0, most=_MAX_SECONDS)
        except DecodeError as error:
            log.warning("the checkpoint is lost, training begins anew: %s", error)
            return None
