"""Why a device gives a round up: its errors, as the server is told of them."""

from edge_agent.examples import MisfitError
from edge_agent.round_work import SelfTestError
from edge_agent.state_files import StorageError
from wire_protocol.errors import (
    ConfigError,
    DecodeError,
    EdgefedError,
    EncodeError,
    Reason,
    TrainingError,
)
from wire_protocol.part_files import DiskFullError


def reason_of(error: EdgefedError) -> Reason:
    """Return the reason that names ``error`` on the wire."""
    match error:
        case DecodeError(reason=Reason.MALFORMED):
            return Reason.FETCH_FAILED
        case DecodeError():
            return error.reason
        case SelfTestError():
            return Reason.SELF_TEST_FAILED
        case TrainingError() | EncodeError():
            return Reason.TRAINING_FAILED
        case StorageError() | DiskFullError():
            return Reason.LOW_DISK
        case MisfitError():
            return Reason.WRONG_SCHEMA
        case _:
            return Reason.FETCH_FAILED


def is_fatal(error: EdgefedError) -> bool:
    """Tell whether no later round can do better: people must act first."""
    return isinstance(error, ConfigError) and not isinstance(error, StorageError)
