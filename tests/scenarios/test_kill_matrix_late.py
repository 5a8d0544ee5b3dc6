"""With late updates and in buffered mode: the ledger balances, whatever happens.

Who takes part in which merge depends here on what happened, so nothing is compared with
an undisturbed run. Instead every merge is done again, from the updates that went over
the wire and the ledger: if one was lost, or counted twice, the parameters differ.
"""

import math
from pathlib import Path

import pytest

from broker_server.config import RoundSection
from broker_server.global_model import advance, first_model
from broker_server.guard import History, guarded_mean
from broker_server.guard_settings import GuardSection
from broker_server.records import LedgerEntry
from broker_server.server_optimizers import fedavgm
from broker_server.store import Store
from broker_server.stored_cohort import Contribution
from tests.fakes import MemoryBroker
from tests.scenarios.disturbance import Case
from tests.scenarios.mortal_federation import DEVICES, SEED, TOPICS, Federation
from tests.scenarios.test_kill_matrix import CASES
from tests.scenarios.tiny_model import LAYOUT
from tests.virtual_time import run_virtually
from wire_protocol.blobs import Block
from wire_protocol.cutting import transfer_id
from wire_protocol.errors import Reason
from wire_protocol.framing import expect
from wire_protocol.messages import UpdateReceipt
from wire_protocol.params import params_digest

OPTIMIZER = fedavgm(beta=0.5, learning_rate=1.0)
MODES = {
    "one is always late": RoundSection(rounds=4, devices=len(DEVICES), goal=2),
    "buffered": RoundSection(rounds=5, devices=len(DEVICES), mode="buffered", buffer=2),
}
SECOND = [case for case in CASES.values() if case.nth in (2, 4)]


def sent(broker: MemoryBroker) -> dict[str, bytes]:
    """Return the updates that went over the wire, by transfer."""
    blocks = broker.sent(TOPICS.device("+", "up", "+", "b", "+"))
    parsed = [expect(Block, payload) for payload in blocks]
    assert all(block.count == 1 for block, _ in parsed)
    return {transfer_id(block.blob): body for block, body in parsed}


def accepted(broker: MemoryBroker) -> set[tuple[int, str]]:
    """Return round and transfer of every update that was receipted ``accepted``."""
    receipts = [
        expect(UpdateReceipt, payload)[0]
        for payload in broker.sent(TOPICS.device("+", "cmd", "receipt"))
    ]
    return {(r.round, r.transfer) for r in receipts if r.reason is Reason.ACCEPTED}


def merged_anew(
    updates: dict[str, bytes], ledger: list[LedgerEntry], *, versions: int
) -> list[str]:
    """Return the digests of all versions, made from what the ledger says."""
    model = first_model(LAYOUT, OPTIMIZER, seed=SEED)
    digests = [params_digest(model.held)]
    window = GuardSection().window - 1
    norms: list[History] = []
    for version in range(1, versions):
        took = [
            Contribution(
                one.device, updates[one.transfer], 1 / math.sqrt(version - one.base)
            )
            for one in sorted(ledger, key=lambda one: (one.round, one.device))
            if one.merged_version == version
        ]
        before = [told for merge in norms[-window:] for told in merge]
        guarded = guarded_mean(took, size=LAYOUT.size, history=before)
        norms.append(guarded.norms)
        model, _ = advance(model, guarded.mean, optimizer=OPTIMIZER, codec="uq:1")
        digests.append(params_digest(model.held))
    return digests


@pytest.mark.slow  # the first matrix, in the default suite, has 159 cases
@pytest.mark.parametrize("rounds", MODES.values(), ids=MODES.keys())
@pytest.mark.parametrize("case", [None, *SECOND], ids=lambda c: c.name if c else "none")
def test_every_accepted_update_is_in_one_merge_or_waits_for_one(
    tmp_path: Path, case: Case | None, rounds: RoundSection
) -> None:
    federation = Federation(tmp_path, case=case, rounds=rounds)
    run_virtually(federation.run())
    with Store.open(tmp_path / "server", readonly=True) as store:
        versions = [one.params for one in store.versions()]
        ledger = store.ledger()
    disturbance = federation.disturbance
    assert disturbance is None or disturbance.struck, "the case met nothing"
    assert len(versions) == 1 + rounds.rounds
    assert accepted(federation.broker) <= {(one.round, one.transfer) for one in ledger}
    updates = sent(federation.broker)
    assert merged_anew(updates, ledger, versions=len(versions)) == versions
    pending = [one for one in ledger if one.state != "merged"]
    assert len(pending) <= len(DEVICES)


def test_the_late_ones_are_merged_after_all(tmp_path: Path) -> None:
    federation = Federation(tmp_path, case=None, rounds=MODES["one is always late"])
    run_virtually(federation.run())
    with Store.open(tmp_path / "server", readonly=True) as store:
        late = [
            one
            for one in store.ledger()
            if one.merged_version is not None and one.merged_version - one.base > 1
        ]
    assert late
