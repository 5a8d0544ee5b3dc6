"""What every test may use."""

import os
import shutil
from pathlib import Path

from hypothesis import settings

pytest_plugins = (
    "tests.broker.broker_fixtures",
    "tests.broker.fleet_broker",
    "tests.broker.guarded_world",
)

# A shared machine is slow at times; the suite's own limit is the timeout.
settings.register_profile("edgefed", deadline=None)
settings.load_profile("edgefed")

# Our files are flushed again and again; in memory that costs nothing, and no test cuts
# the power.
_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 2 << 30
if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))
