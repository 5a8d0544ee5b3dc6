"""The line of versions, as the server restores and extends it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from broker_server.artifact import Artifact
from broker_server.clocks import Clocks
from broker_server.conduct import Conduct
from broker_server.config import ServerConfig
from broker_server.global_model import (
    GlobalModel,
    advance,
    first_model,
    listed_deltas,
)
from broker_server.guard import Guarded, guarded_mean
from broker_server.server_optimizers import optimizer_named
from broker_server.store import Identity, Store
from broker_server.stored_cohort import Contribution
from wire_protocol.blobs import BlobRef
from wire_protocol.feature_statistics import FeatureStatistics, standardized
from wire_protocol.messages import DeltaRef
from wire_protocol.transfer import blob_ref


@dataclass(frozen=True, slots=True, eq=False)
class Tip:
    """The newest version, the deltas that lead to it, and every blob on offer."""

    model: GlobalModel
    deltas: tuple[DeltaRef, ...]
    keyframe: BlobRef
    blobs: Mapping[str, bytes]


def staleness_factor(staleness: int) -> float:
    """Return what work counts whose base is ``staleness`` versions old.

    That is (1 + s) ** -0.5, as in FedBuff (Nguyen et al., AISTATS 2022).

    >>> staleness_factor(0), staleness_factor(3)
    (1.0, 0.5)
    """
    return float((1 + staleness) ** -0.5)


class ModelLine:
    """Every version of one artifact's parameters, kept in the store."""

    def __init__(self, config: ServerConfig, artifact: Artifact, store: Store) -> None:
        self._store = store
        self._artifact = artifact
        self._codec = config.codec.downlink
        self._guard = config.guard
        self._conduct = Conduct(config, store)
        self._optimizer = optimizer_named(
            config.optimizer.name,
            beta=config.optimizer.beta,
            learning_rate=config.optimizer.learning_rate,
        )
        manifest = artifact.manifest
        store.claim(
            Identity(config.server.fleet, manifest.name, manifest.layout.digest)
        )
        self._seed = config.server.seed
        self.tip = self._restore()

    def restore(self) -> Tip:
        """Read the newest version from the store again."""
        self.tip = self._restore()
        return self.tip

    def barred(self, number: int) -> frozenset[str]:
        """Return which devices round ``number`` must do without."""
        return self._conduct.barred(number)

    def standardize(self, parts: Sequence[FeatureStatistics]) -> None:
        """Put what devices told of their inputs into version 0; nobody holds it yet.

        Raises:
            StorageError: It could not be stored.
        """
        layout = self._artifact.manifest.layout
        params = standardized(self.tip.model.params, layout, parts=parts)
        model = replace(self.tip.model, params=params, held=params)
        self._store.commit_first(self._store.version_log.prepare(model, None))
        self.tip = self._tip(model, (), self._store.version_log.blob)

    def merge(
        self, number: int, *, began: float, clocks: Clocks, refused: Mapping[str, int]
    ) -> Tip:
        """Merge what round ``number`` took and commit; runs in a thread.

        What comes of it depends on what was written down alone, to the bit.

        Raises:
            EncodeError: The outcome is not finite; nothing was committed.
            EmptyRoundError: The round took no update.
            StorageError: It could not be stored; nothing was committed.
        """
        before = self.tip
        layout = self._artifact.manifest.layout
        guarded = self._guarded(number, before.model)
        model, delta = advance(
            before.model,
            layout.spread(guarded.mean),
            optimizer=self._optimizer,
            codec=self._codec,
        )
        prepared = self._store.version_log.prepare(model, delta)
        self._store.commit_merge(
            number,
            prepared,
            ended=clocks.wall(),
            seconds=clocks.steady() - began,
            refused=refused,
            reputations=self._conduct.after_merge(number, guarded.assessments),
        )
        deltas = (*before.deltas, DeltaRef(model.version, blob_ref(delta)))
        known = {**before.blobs, deltas[-1].blob.sha256: delta}
        self.tip = self._tip(model, deltas, known.__getitem__)
        return self.tip

    def _guarded(self, number: int, model: GlobalModel) -> Guarded:
        """Return what the guard makes of what round ``number`` took."""
        layout, log = self._artifact.manifest.layout, self._store.update_log
        contributions = (
            Contribution(
                one.device,
                one.file,
                staleness_factor(model.version - one.version),
                one.norm,
            )
            for one in log.payloads(number)
        )
        return guarded_mean(
            contributions,
            size=layout.federated.size,
            guard=self._guard,
            history=log.norms(model.version, window=self._guard.window - 1),
            last_step=layout.gather(model.momentum) if model.momentum.size else None,
        )

    def _restore(self) -> Tip:
        log = self._store.version_log
        latest = log.latest()
        if latest is None:
            layout = self._artifact.manifest.layout
            model = first_model(
                layout,
                self._optimizer,
                seed=self._seed,
                initial=self._artifact.initial,
            )
            self._store.commit_first(log.prepare(model, None))
            return self._tip(model, (), log.blob)
        return self._tip(*latest, log.blob)

    def _tip(
        self,
        model: GlobalModel,
        deltas: tuple[DeltaRef, ...],
        blob: Callable[[str], bytes],
    ) -> Tip:
        keyframe = model.keyframe
        ref = blob_ref(keyframe)
        listed = listed_deltas(deltas, keyframe_bytes=len(keyframe))
        return Tip(
            model,
            listed,
            ref,
            {
                **self._artifact.blobs,
                ref.sha256: keyframe,
                **{delta.blob.sha256: blob(delta.blob.sha256) for delta in listed},
            },
        )
