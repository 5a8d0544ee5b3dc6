"""What a device remembers on disk: the journal, and the files that it names.

Content is written first, then the journal that names it; what no journal names is
removed after that. So at every moment the journal on disk names files that are whole.

    journal                      the record, see journal.py
    memory/model-<digest>.vectors    the global model that is held
    memory/<transfer>.update         the last update: the outbox until it is receipted
    memory/<transfer>.vectors        what was meant by it; the personal parameters
    memory/checkpoint.vectors        training under way
    boot                         how often the agent began; see ``first_connection``
"""

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from edge_agent import checkpoints
from edge_agent.journal import MAX_BYTES, KeptModel, KeptUpdate, Record
from edge_agent.journal import from_bytes as journal_from_bytes
from edge_agent.journal import to_bytes as journal_to_bytes
from edge_agent.model import HeldModel
from edge_agent.session import Effect, Fetching, Reporting, State, Training
from edge_agent.state_files import StateFiles
from edge_agent.vectors import read_vectors, write_vectors
from wire_protocol.envelope import split
from wire_protocol.error_feedback import Sent
from wire_protocol.errors import DecodeError
from wire_protocol.framing import expect
from wire_protocol.messages import ClientUpdate
from wire_protocol.params import Vector, params_digest
from wire_protocol.transfer import blob_ref, transfer_id

log = logging.getLogger(__name__)

CONNECTIONS_OF_A_BOOT: Final = 1 << 20
_MAX_BOOTS: Final = 1 << 32
_SUFFIX: Final = ".vectors"


class Memory:
    """The journal and its files. Reading never fails: what is damaged is lost."""

    def __init__(self, files: StateFiles) -> None:
        self._files = files
        self._journal = files.folder / "journal"
        self.folder = files.folder / "memory"
        self._on_disk: bytes | None = None
        # what a thread writes, and the journal does not name yet
        self._coming: KeptModel | None = None
        self._made: KeptUpdate | None = None
        self.record = self._opened()
        self._collect("*")

    def save(self, state: State, effects: tuple[Effect, ...]) -> None:
        """Write ``state`` down, with the verdicts among ``effects``, if it is news.

        Raises:
            StorageError: It cannot be written; it is remembered until the next try.
        """
        self.record = self.record.after(state, effects)
        made = self._made
        if made and isinstance(state, Reporting) and made.transfer == state.transfer:
            self.record = replace(self.record, update=made)
            self._made = None
        raw = journal_to_bytes(self.record)
        if raw == self._on_disk:
            return
        self._files.write(self._journal, raw)
        self._on_disk = raw
        self._collect("[!.]*")  # one with a dot is being written

    def remember(self, state: State) -> None:
        """Have the next journal say ``state`` instead of what could not be written."""
        self.record = replace(self.record, state=state)

    # --- the global model -----------------------------------------------------

    def write_model(self, held: HeldModel, *, layout: str) -> KeptModel:
        """Write the global model; ``record`` must name it next.

        Raises:
            StorageError: It cannot be written.
        """
        kept = KeptModel(held.version, held.digest, layout)
        self._coming = kept
        path = self._model_path(kept)
        write_vectors(self._files, path, vectors=[held.params], head=asdict(kept))
        return kept

    def model(self, *, layout: str) -> HeldModel | None:
        """Return the global model that is held, if it is one of ``layout``."""
        kept = self.record.model
        if kept is None or kept.layout != layout:
            return None
        try:
            params = read_vectors(self._model_path(kept)).vectors[0]
        except DecodeError as error:
            log.warning("the model is lost, it will be fetched again: %s", error)
            return None
        if params_digest(params) != kept.params:
            log.warning("another model is on disk, the right one will be fetched")
            return None
        return HeldModel(kept.version, params, kept.params)

    # --- the last update ------------------------------------------------------

    def write_update(
        self, kept: KeptUpdate, *, frame: bytes, meant: Vector, personal: Vector
    ) -> None:
        """Write an update and what was meant; the next ``Reporting`` will name it.

        ``personal`` are the parameters that stay here, as training left them.

        Raises:
            StorageError: They cannot be written.
        """
        self._made = kept
        path = self._meant_path(kept)
        write_vectors(self._files, path, vectors=[meant, personal], head={})
        self._files.write(self._update_path(kept.transfer), frame)

    def update(self, transfer: str) -> bytes:
        """Return the frame of an update.

        Raises:
            DecodeError: It is lost.
        """
        path = self._update_path(transfer)
        try:
            frame = path.read_bytes()
        except OSError as error:
            raise DecodeError(f"{path.name} is lost: {error.strerror}") from error
        if transfer_id(blob_ref(frame)) != transfer:
            raise DecodeError(f"{path.name} is damaged")
        return frame

    def residual(self, *, layout: str, size: int) -> Vector | None:
        """Return what remains to be sent, shape ``[size]``; None is nothing."""
        kept = self.record.update
        if kept is None or kept.layout != layout:
            return None
        try:
            meant, _ = self._of_last_update(kept)
            if meant.size != size:
                return None
            # our own: whether it is signed does not matter
            _, whole = split(self.update(kept.transfer))
            head, payload = expect(ClientUpdate, whole)
            return Sent(meant, payload, head.codec, kept.fate).residual()
        except DecodeError as error:
            log.warning("what remained to be sent is lost: %s", error)
            return None

    def personal(self, *, layout: str, size: int) -> Vector | None:
        """Return the parameters that stay here, shape ``[size]``; None: as they came.

        They are those of the last training, whether or not its update counts.
        """
        kept = self.record.update
        if kept is None or kept.layout != layout:
            return None
        try:
            _, personal = self._of_last_update(kept)
        except DecodeError as error:
            log.warning("personal parameters are lost, they begin anew: %s", error)
            return None
        return personal if personal.size == size else None

    def hold(self, kept: KeptModel) -> None:
        """Have the next journal name a model that was written."""
        self.record = replace(self.record, model=kept)
        self._coming = None

    def forget_update(self) -> None:
        """Forget the last update, which cannot be read."""
        self.record = replace(self.record, update=None)

    def _of_last_update(self, kept: KeptUpdate) -> tuple[Vector, Vector]:
        vectors = read_vectors(self._meant_path(kept)).vectors
        if len(vectors) != 2:
            raise DecodeError(f"two vectors were expected, not {len(vectors)}")
        return vectors[0], vectors[1]

    # --- files ----------------------------------------------------------------

    def _opened(self) -> Record:
        try:
            with self._journal.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
            record = journal_from_bytes(raw)
        except FileNotFoundError:
            return self._salvaged()
        except (OSError, DecodeError) as error:
            log.warning("the journal is lost, beginning anew: %s", error)
            return self._salvaged()
        self._on_disk = raw
        return record

    def _salvaged(self) -> Record:
        """Return what the files say without a journal: which model is held."""
        for path in sorted(self.folder.glob(f"model-*{_SUFFIX}")):
            try:
                kept = KeptModel.read(read_vectors(path).head)
            except DecodeError:
                continue
            if self._model_path(kept) == path:
                return Record(model=kept)
        return Record()

    def _collect(self, pattern: str) -> None:
        """Remove the files like ``pattern`` that the record does not name."""
        record, named = self.record, set[Path]()
        for model in (record.model, self._coming):
            if model is not None:
                named.add(self._model_path(model))
        for update in (record.update, self._made):
            if update is not None:
                named |= {
                    self._update_path(update.transfer),
                    self._meant_path(update),
                }
        if isinstance(record.state, Fetching | Training):
            named.add(self.folder / checkpoints.FILE)
        for path in self.folder.glob(pattern):
            if path not in named:
                self._files.remove(path)

    def _model_path(self, kept: KeptModel) -> Path:
        return self.folder / f"model-{kept.params[:16]}{_SUFFIX}"

    def _update_path(self, transfer: str) -> Path:
        return self.folder / f"{transfer}.update"

    def _meant_path(self, kept: KeptUpdate) -> Path:
        return self.folder / f"{kept.transfer}{_SUFFIX}"


def first_connection(files: StateFiles) -> int:
    """Return the number of this process's first connection: above all earlier ones.

    The will of a connection of a former process is then known to be stale.

    Raises:
        StorageError: The state folder cannot be written.
    """
    path = files.folder / "boot"
    try:
        boots = int(path.read_bytes()[:16])
    except FileNotFoundError:
        boots = 0
    except (OSError, ValueError):
        log.warning("%s is damaged, counting starts anew", path)
        boots = 0
    boots = boots % _MAX_BOOTS + 1
    files.write(path, f"{boots}\n".encode())
    return boots * CONNECTIONS_OF_A_BOOT
