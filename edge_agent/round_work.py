"""The work of one round: fetch what the offer needs, train, and make the update.

Training, and the writing of what is large, run in one thread of its own, so that MQTT
keep-alives go on; the runtime is imported there when the first round trains.
Cancelling a call stops its work within one training step.
"""

import asyncio
import functools
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent.artifacts import (
    Artifact,
    ArtifactCache,
    FetchBlob,
    has_passed,
    remember_passed,
)
from edge_agent.checkpoints import Checkpoints
from edge_agent.config import DeviceSettings
from edge_agent.examples import ExampleStore
from edge_agent.fetching import Fetcher
from edge_agent.journal import KeptUpdate
from edge_agent.memory import Memory
from edge_agent.model import (
    HeldModel,
    checked,
    from_keyframe,
    missing_deltas,
    with_delta,
)
from edge_agent.probe import Finding, self_test_problem
from edge_agent.session import Training
from edge_agent.state_files import StateFiles
from edge_agent.trainers.trainer import OpenTrainer, Trainer, open_trainer
from edge_agent.training import (
    CancelledTrainingError,
    LocalModel,
    evaluate,
    order_of_examples,
    train,
)
from wire_protocol.blobs import MAX_BLOB_BYTES, SHORT_DIGEST, BlobRef
from wire_protocol.codecs import codec_named
from wire_protocol.cutting import blob_ref, transfer_id
from wire_protocol.error_feedback import encode
from wire_protocol.errors import DecodeError, Reason, TrainingError
from wire_protocol.framing import frame
from wire_protocol.manifest import Manifest
from wire_protocol.messages import ClientUpdate, Evaluation, RoundOffer, ServerInfo
from wire_protocol.params import ParamLayout, Vector

log = logging.getLogger(__name__)


class SelfTestError(TrainingError):
    """The runtime does not compute here what the artifact's maker computed."""


@dataclass(frozen=True, slots=True)
class _Result:
    """What came out of training."""

    local: LocalModel
    evaluation: Evaluation | None
    num_examples: int
    train_s: float


class RoundWork:
    """What a device does in one round; what it keeps between two is in ``memory``."""

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        memory: Memory,
        files: StateFiles,
        settings: DeviceSettings,
        store: ExampleStore,
        runtime: Finding,
        clock: Callable[[], float],
        seal: Callable[[bytes], bytes],
        open_trainer: OpenTrainer = open_trainer,
    ) -> None:
        self._fetcher = fetcher
        self._memory = memory
        self._files = files
        self._settings = settings
        self._store = store
        self._runtime = runtime
        self._clock = clock
        self._seal = seal
        self._open_trainer = open_trainer
        self._cache = ArtifactCache(files)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="training")
        self._artifact: Artifact | None = None
        self._held: HeldModel | None = None
        self._opened: tuple[str, Trainer] | None = None  # only for the thread

    def holds_model(self, offer: RoundOffer) -> bool:
        """Tell whether the parameters of ``offer`` are here."""
        if self._held is None:
            self._held = self._memory.model(layout=offer.layout)
        return self._held is not None and self._held.digest == offer.params

    def is_ready(self, offer: RoundOffer) -> bool:
        """Tell whether everything that ``train`` needs is at hand."""
        artifact = self._artifact
        return (
            artifact is not None
            and artifact.digest == offer.manifest.sha256
            and self.holds_model(offer)
        )

    async def fetch(
        self, offer: RoundOffer, *, info: Callable[[], Awaitable[ServerInfo]]
    ) -> None:
        """Bring here what ``offer`` needs, checked and self-tested.

        What is on disk needs no server; ``info`` is asked for when something does.

        Raises:
            DecodeError: What the server offers is not what it must be.
            MisfitError: The model does not take the local examples.
            StorageError: The state folder cannot be written.
            SelfTestError: The runtime computes wrongly here.
        """
        codec_named(offer.codec)
        before = self._fetcher.bytes_fetched

        async def fetch_blob(ref: BlobRef, most: int) -> bytes:
            return await self._fetcher.fetch(ref, info=await info(), max_bytes=most)

        async def fetch_file(ref: BlobRef, path: Path, most: int) -> None:
            await self._fetcher.fetch_file(
                ref,
                path,
                info=await info(),
                max_bytes=most,
                write=self._files.write,
            )

        artifact = self._artifact
        if artifact is None or artifact.digest != offer.manifest.sha256:
            artifact = await self._cache.get(
                offer.manifest,
                family=self._runtime.runtime.family,
                fetch_blob=fetch_blob,
                fetch_file=fetch_file,
            )
            await self._check_fit(artifact.manifest)
            await self._prove(artifact)
            self._artifact, self._held = artifact, None
        layout = artifact.manifest.layout
        if layout.digest != offer.layout:
            raise DecodeError(
                f"the manifest's layout is {layout.digest}, the offer's {offer.layout}",
                reason=Reason.WRONG_SCHEMA,
            )
        held = await self._model(offer, size=layout.size, fetch_blob=fetch_blob)
        await self._keep(held, layout=layout.digest)
        self._held = held
        record = self._memory.record
        # a round that goes on after a restart has fetched some before
        earlier = record.bytes_down if isinstance(record.state, Training) else 0
        fetched = earlier + self._fetcher.bytes_fetched - before
        self._memory.record = replace(record, bytes_down=fetched)

    async def train(self, offer: RoundOffer) -> str:
        """Train what was fetched for ``offer``, and put the update into the outbox.

        Returns:
            The update's transfer. It is durable once the journal names it.

        Raises:
            TrainingError: Training diverged or the runtime failed.
            EncodeError: The delta has no representation.
            StorageError: The update cannot be written.
        """
        artifact, held = self._artifact, self._held
        assert artifact is not None
        assert held is not None
        cancelled = threading.Event()
        try:
            made = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._made, offer, artifact, held, cancelled
            )
        finally:
            cancelled.set()
        return made.transfer

    def close(self) -> None:
        """Let the training thread end."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _check_fit(self, manifest: Manifest) -> None:
        """Look at the examples in the thread: there may be many, on a slow card."""
        await asyncio.get_running_loop().run_in_executor(
            self._thread, self._store.check_fit, manifest
        )

    async def _prove(self, artifact: Artifact) -> None:
        if has_passed(artifact, self._runtime.label):
            return
        problem = await self_test_problem(self._runtime.runtime, artifact.folder)
        if problem:
            raise SelfTestError(
                f"{self._runtime.label} failed the self-test of "
                f"{artifact.manifest.name}: {problem}",
                remedy="choose another [agent] runtime",
            )
        remember_passed(artifact, self._runtime.label, files=self._files)

    async def _model(
        self, offer: RoundOffer, *, size: int, fetch_blob: FetchBlob
    ) -> HeldModel:
        """Return the offered model: by deltas where they suffice, else whole."""
        held = self._held or self._memory.model(layout=offer.layout)
        deltas = missing_deltas(held, offer)
        if held is not None and deltas is not None:
            try:
                params = held.params
                # asked for together, so that one answer of the server brings them all
                contents = await asyncio.gather(
                    *(fetch_blob(delta.blob, MAX_BLOB_BYTES) for delta in deltas)
                )
                for delta, content in zip(deltas, contents, strict=True):
                    params = with_delta(params, content, version=delta.version)
                return checked(params, offer)
            except DecodeError as error:
                log.warning("taking the keyframe instead of deltas: %s", error)
        keyframe = await fetch_blob(offer.keyframe, 4 * size)
        return checked(from_keyframe(keyframe, size=size), offer)

    async def _keep(self, held: HeldModel, *, layout: str) -> None:
        """Have ``held`` on disk; the journal names it with the next state."""
        kept = self._memory.record.model
        if kept is not None and (kept.params, kept.layout) == (held.digest, layout):
            return
        write = functools.partial(self._memory.write_model, held, layout=layout)
        kept = await asyncio.get_running_loop().run_in_executor(self._thread, write)
        self._memory.hold(kept)

    # --- in the thread --------------------------------------------------------

    def _made(
        self,
        offer: RoundOffer,
        artifact: Artifact,
        held: HeldModel,
        cancelled: threading.Event,
    ) -> KeptUpdate:
        """Do the whole round's computing, and write its outcome."""
        result = self._trained(offer, artifact, held, cancelled)
        layout = artifact.manifest.layout
        sent = encode(
            layout.gather(result.local.params - held.params),
            residual=self._memory.residual(
                layout=layout.digest, size=layout.federated.size
            ),
            codec=codec_named(offer.codec),
        )
        head = ClientUpdate(
            round=offer.round,
            base=held.digest[:SHORT_DIGEST],
            layout=layout.digest,
            codec=offer.codec,
            num_examples=result.num_examples,
            steps=result.local.steps,
            loss=float(f"{result.local.loss:.6g}"),
            train_s=round(result.train_s, 3),
            bytes_down=self._memory.record.bytes_down,
            evaluation=result.evaluation,
        )
        update = self._seal(frame(head, sent.payload))
        kept = KeptUpdate(offer.round, transfer_id(blob_ref(update)), layout.digest)
        if cancelled.is_set():
            raise CancelledTrainingError("training was cancelled")
        self._memory.write_update(
            kept,
            frame=update,
            meant=sent.meant,
            personal=layout.gather_personal(result.local.params),
        )
        log.info(
            "round %d: trained %d steps in %.2f s, loss %.4f, %d bytes to send",
            offer.round,
            head.steps,
            result.train_s,
            result.local.loss,
            len(sent.payload),
        )
        return kept

    def _trained(
        self,
        offer: RoundOffer,
        artifact: Artifact,
        held: HeldModel,
        cancelled: threading.Event,
    ) -> _Result:
        manifest, plan = artifact.manifest, offer.plan
        base = self._begun_from(held, manifest.layout)
        trainer = self._trainer(artifact)
        began = self._clock()
        checkpoints = Checkpoints(
            self._files,
            self._memory.folder,
            offer=offer,
            device=self._settings.device,
        )
        # the same examples as before a restart, if they are still there
        snapshot = self._store.snapshot(checkpoints.examples())
        snapshot.check_fit(manifest)
        evaluation = None
        if plan.evaluate and snapshot.holdout.count:
            evaluation = evaluate(
                trainer, snapshot.holdout, params=base, batch=manifest.batch
            )
        found, earlier_s = checkpoints.load(
            examples=snapshot.key, size=held.params.size, state_size=trainer.state_size
        ) or (None, 0.0)
        if found is not None:
            log.info("round %d: epoch %d was done before", offer.round, found.epoch)
        local = train(
            trainer,
            snapshot.training,
            base=base,
            plan=plan,
            batch=manifest.batch,
            seed=order_of_examples(
                plan, device=self._settings.device, round_id=offer.round
            ),
            cancelled=cancelled.is_set,
            checkpoint=found,
            save=lambda checkpoint: checkpoints.save(
                checkpoint,
                examples=snapshot.key,
                seconds=earlier_s + self._clock() - began,
            ),
        )
        took_s = earlier_s + self._clock() - began
        return _Result(local, evaluation, snapshot.training.count, took_s)

    def _begun_from(self, held: HeldModel, layout: ParamLayout) -> Vector:
        """Return the global parameters, with this device's own where it has some."""
        size = layout.gather_personal(held.params).size
        own = self._memory.personal(layout=layout.digest, size=size) if size else None
        return held.params if own is None else layout.scatter_personal(held.params, own)

    def _trainer(self, artifact: Artifact) -> Trainer:
        if self._opened is not None and self._opened[0] == artifact.digest:
            return self._opened[1]
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None  # the next may not open
        trainer = self._open_trainer(
            self._runtime.runtime.name,
            artifact.folder,
            manifest=artifact.manifest,
            threads=self._settings.threads,
        )
        self._opened = (artifact.digest, trainer)
        return trainer
