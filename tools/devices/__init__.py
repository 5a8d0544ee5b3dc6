"""``edgefed devices``: let devices join, look at them, lock them out."""
