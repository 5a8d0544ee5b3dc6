"""``edgefed doctor``: what works here, measured, and what to do about the rest."""
