"""The checkpoint of the training under way: one file, replaced after every epoch."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from edge_agent.state_files import StateFiles, StorageError
from edge_agent.training import GREATEST_LOSS, Checkpoint
from edge_agent.vectors import VectorFile, read_vectors, write_vectors
from wire_protocol.blobs import SHORT_DIGEST
from wire_protocol.errors import DecodeError
from wire_protocol.framing import frame
from wire_protocol.messages import RoundOffer

log = logging.getLogger(__name__)

FILE: Final = "checkpoint.vectors"
_MAX_SECONDS: Final = 1e9


class Checkpoints:
    """Saves and finds the checkpoint of one round's training, in ``folder``.

    It is bound to all that the training depends on: the offer, who trains, and on which
    examples. What was saved for anything else is not found.
    """

    def __init__(
        self,
        files: StateFiles,
        folder: Path,
        *,
        offer: RoundOffer,
        device: str,
    ) -> None:
        self._files = files
        self._path = folder / FILE
        self._epochs = offer.plan.epochs
        bound = frame(replace(offer, cohort=()), device.encode())
        self._key = hashlib.sha256(bound).hexdigest()[:SHORT_DIGEST]
        self.failures = 0
        """Checkpoints that could not be written; training went on without."""

    def save(self, checkpoint: Checkpoint, *, examples: str, seconds: float) -> None:
        """Save ``checkpoint``, which took ``seconds`` so far; failing is survived.

        ``examples`` is the key of those it was trained on.
        """
        head = {
            "key": self._key,
            "examples": examples,
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

    def examples(self) -> str:
        """Return the key of the examples of this training so far; empty: of none."""
        found = self._read()
        try:
            return found.head.text("examples") if found else ""
        except DecodeError:
            return ""

    def load(
        self, *, examples: str, size: int, state_size: int
    ) -> tuple[Checkpoint, float] | None:
        """Return the last checkpoint of this training, and the seconds it took."""
        found = self._read()
        if found is None:
            return None
        try:
            head = found.head
            if head.text("examples") != examples:
                log.info("training begins anew: its examples are gone")
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

    def _read(self) -> VectorFile | None:
        """Return what is in the file, if it is of this training."""
        if not self._path.exists():
            return None
        try:
            found = read_vectors(self._path)
            mine = found.head.digest("key", digits=SHORT_DIGEST) == self._key
        except DecodeError as error:
            log.warning("the checkpoint is lost, training begins anew: %s", error)
            return None
        return found if mine else None
