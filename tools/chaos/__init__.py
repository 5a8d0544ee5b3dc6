"""``edgefed chaos``: a federation of real processes under faults, and what it lost."""
