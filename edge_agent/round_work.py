"""The work of one round: fetch what the offer needs, train, and make the update.

Training runs in one thread of its own, so that MQTT keep-alives go on; the runtime is
imported there when the first round trains. Cancelling a call stops its work within one
training step.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edge_agent.artifacts import (
    Artifact,
    ArtifactCache,
    FetchBlob,
    has_passed,
    remember_passed,
)
from edge_agent.config import DeviceSettings
from edge_agent.examples import ExampleStore
from edge_agent.fetching import Fetcher
from edge_agent.model import (
    HeldModel,
    checked,
    from_keyframe,
    missing_deltas,
    with_delta,
)
from edge_agent.probe import Finding, self_test_problem
from edge_agent.trainers.trainer import Trainer, open_trainer
from edge_agent.training import LocalModel, evaluate, order_of_examples, train
from wire_protocol.blobs import MAX_BLOB_BYTES, SHORT_DIGEST, BlobRef
from wire_protocol.codecs import codec_named
from wire_protocol.error_feedback import ErrorFeedback
from wire_protocol.errors import DecodeError, Reason, TrainingError
from wire_protocol.framing import frame
from wire_protocol.messages import ClientUpdate, Evaluation, RoundOffer, ServerInfo

log = logging.getLogger(__name__)


class SelfTestError(TrainingError):
    """The runtime does not compute here what the artifact's maker computed."""


@dataclass(frozen=True, slots=True)
class _Result:
    """What came out of the training thread."""

    local: LocalModel
    evaluation: Evaluation | None
    train_s: float


class RoundWork:
    """Everything a device keeps between rounds, and what it does in one."""

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        settings: DeviceSettings,
        store: ExampleStore,
        runtime: Finding,
        clock: Callable[[], float],
    ) -> None:
        self._fetcher = fetcher
        self._settings = settings
        self._store = store
        self._runtime = runtime
        self._clock = clock
        self._cache = ArtifactCache(settings.state_dir.absolute() / "artifacts")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="training")
        self._artifact: Artifact | None = None
        self._held: HeldModel | None = None
        self._feedback: ErrorFeedback | None = None
        self._opened: tuple[str, Trainer] | None = None  # only for the thread
        self._bytes_before = 0

    async def fetch(self, offer: RoundOffer, *, info: ServerInfo) -> None:
        """Bring here what ``offer`` needs, checked and self-tested.

        Raises:
            DecodeError: What the server offers is not what it must be.
            ConfigError: The model does not take the local examples.
            SelfTestError: The runtime computes wrongly here.
        """
        codec_named(offer.codec)
        self._bytes_before = self._fetcher.bytes_fetched

        async def fetch_blob(ref: BlobRef, most: int) -> bytes:
            return await self._fetcher.fetch(ref, info=info, max_bytes=most)

        async def fetch_file(ref: BlobRef, path: Path, most: int) -> None:
            await self._fetcher.fetch_file(ref, path, info=info, max_bytes=most)

        artifact = self._artifact
        if artifact is None or artifact.digest != offer.manifest.sha256:
            artifact = await self._cache.get(
                offer.manifest,
                family=self._runtime.runtime.family,
                fetch_blob=fetch_blob,
                fetch_file=fetch_file,
            )
            self._store.check_fit(artifact.manifest)
            await self._prove(artifact)
            self._artifact, self._held = artifact, None
        if artifact.manifest.layout.digest != offer.layout:
            raise DecodeError(
                f"the manifest's layout is {artifact.manifest.layout.digest}, "
                f"the offer's {offer.layout}",
                reason=Reason.WRONG_SCHEMA,
            )
        self._held = await self._model(offer, artifact, fetch_blob)

    async def train(self, offer: RoundOffer) -> bytes:
        """Train what was fetched for ``offer``; return the update's frame.

        Raises:
            TrainingError: Training diverged or the runtime failed.
            EncodeError: The delta has no representation.
        """
        artifact, held = self._artifact, self._held
        assert artifact is not None
        assert held is not None
        cancelled = threading.Event()
        try:
            result = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._trained, offer, artifact, held, cancelled
            )
        finally:
            cancelled.set()
        layout = artifact.manifest.layout
        if self._feedback is None:
            self._feedback = ErrorFeedback(layout)
        self._feedback.follow(layout)
        body = self._feedback.encode(
            result.local.params - held.params,
            round_id=offer.round,
            codec=codec_named(offer.codec),
        )
        update = ClientUpdate(
            round=offer.round,
            base=held.digest[:SHORT_DIGEST],
            layout=layout.digest,
            codec=offer.codec,
            num_examples=self._store.training.count,
            steps=result.local.steps,
            loss=float(f"{result.local.loss:.6g}"),
            train_s=round(result.train_s, 3),
            bytes_down=self._fetcher.bytes_fetched - self._bytes_before,
            evaluation=result.evaluation,
        )
        log.info(
            "round %d: trained %d steps in %.2f s, loss %.4f, %d bytes to send",
            offer.round,
            result.local.steps,
            result.train_s,
            result.local.loss,
            len(body),
        )
        return frame(update, body)

    def commit(self, round_id: int) -> None:
        """The server counts the update of ``round_id``."""
        if self._feedback is not None:
            self._feedback.commit(round_id)

    def fold_back(self, round_id: int) -> None:
        """The update of ``round_id`` does not count."""
        if self._feedback is not None:
            self._feedback.fold_back(round_id)

    def close(self) -> None:
        """Let the training thread end."""
        self._thread.shutdown(wait=True, cancel_futures=True)

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
        remember_passed(artifact, self._runtime.label)

    async def _model(
        self,
        offer: RoundOffer,
        artifact: Artifact,
        fetch_blob: FetchBlob,
    ) -> HeldModel:
        """Return the offered model: by deltas where they suffice, else whole."""
        size = artifact.manifest.layout.size
        held = self._held
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

    def _trained(
        self,
        offer: RoundOffer,
        artifact: Artifact,
        held: HeldModel,
        cancelled: threading.Event,
    ) -> _Result:
        """Do the whole round's computing; runs in the training thread."""
        manifest, plan = artifact.manifest, offer.plan
        trainer = self._trainer(artifact)
        began = self._clock()
        evaluation = None
        if plan.evaluate and self._store.holdout.count:
            evaluation = evaluate(
                trainer, self._store.holdout, params=held.params, batch=manifest.batch
            )
        local = train(
            trainer,
            self._store.training,
            base=held.params,
            plan=plan,
            batch=manifest.batch,
            seed=order_of_examples(
                plan, device=self._settings.device, round_id=offer.round
            ),
            cancelled=cancelled.is_set,
        )
        return _Result(local, evaluation, self._clock() - began)

    def _trainer(self, artifact: Artifact) -> Trainer:
        if self._opened is not None and self._opened[0] == artifact.digest:
            return self._opened[1]
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None  # the next may not open
        trainer = open_trainer(
            self._runtime.runtime.name,
            artifact.folder,
            manifest=artifact.manifest,
            threads=self._settings.threads,
        )
        self._opened = (artifact.digest, trainer)
        return trainer
