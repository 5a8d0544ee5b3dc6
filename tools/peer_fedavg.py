"""The peer's side of ``bench_aggregate``: runs in an environment that has flwr alone.

    python tools/peer_fedavg.py DELTAS.npy

Reads the name of a measurement from every line of its input and answers with the CPU
milliseconds it took for each update. ``fedavg`` is Flower's ``FedAvg.aggregate_train``
on replies it holds in memory: every array is read with ``numpy.load``, multiplied and
added, and the mean is written with ``numpy.save``. ``received`` begins a step earlier,
with the objects as they come off the wire, and puts the replies together from them.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity


def main(path: str) -> int:
    """Measure what is asked for until there is no more input."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    # A reply says who sent it, so Flower wants to know who that is here.
    TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
    deltas = np.load(path, mmap_mode="r")
    contents = [
        RecordDict(
            {
                "arrays": ArrayRecord([np.array(delta)]),
                "metrics": MetricRecord({"num-examples": 100 + number}),
            }
        )
        for number, delta in enumerate(deltas)
    ]
    replies = [_reply(content) for content in contents]
    received = [
        (
            content.object_id,
            {key: o.deflate() for key, o in get_all_nested_objects(content).items()},
        )
        for content in contents
    ]
    strategy = FedAvg()

    def inflated(key: str, objects: Mapping[str, bytes]) -> Message:
        return _reply(inflate_object_from_contents(key, dict(objects)))

    measurements: dict[str, Callable[[], object]] = {
        "fedavg": lambda: strategy.aggregate_train(1, replies),
        "received": lambda: strategy.aggregate_train(
            1, [inflated(key, objects) for key, objects in received]
        ),
    }
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.process_time()
        measurements[line.strip()]()
        spent = time.process_time() - began
        print(1000 * spent / len(deltas), flush=True)
    return 0


def _reply(content: RecordDict) -> Message:
    return Message(content=content, dst_node_id=1, message_type="train")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
