"""A folder of segments as it is found: good ones in order, and files that are none."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_agent.examples import Examples
from edge_agent.segments import (
    SUFFIX,
    Segment,
    open_segment,
    read_records,
    segment_name,
)
from wire_protocol.errors import DecodeError

log = logging.getLogger(__name__)

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """What is in a log's folder: good segments in order, and files that are none."""

    segments: tuple[Segment, ...]
    damaged: tuple[Path, ...]

    @property
    def count(self) -> int:
        """Examples in all segments."""
        return sum(segment.count for segment in self.segments)


def look_into(folder: Path) -> Found:
    """Look into a log's folder and change nothing: an agent may be writing there."""
    segments: list[Segment] = []
    damaged: list[Path] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            segment = open_segment(path)
        except DecodeError as error:
            log.warning("examples are lost: %s", error.problem)
            damaged.append(path)
            continue
        behind = segments[-1].first + segments[-1].count if segments else 0
        if segment.first < behind or path.name != segment_name(segment.first):
            log.warning("examples are lost: %s is a copy of others", path.name)
            damaged.append(path)
        else:
            segments.append(segment)
    return Found(tuple(segments), tuple(damaged))


def records_of(segments: tuple[Segment, ...]) -> Iterator[Examples]:
    """Yield the examples of ``segments``, in parts of bounded size."""
    for segment in segments:
        step = max(1, _MIB // segment.form.record_bytes)
        for start in range(0, segment.count, step):
            stop = min(start + step, segment.count)
            yield segment.form.examples(read_records(segment, start, stop))
