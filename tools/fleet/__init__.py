"""``edgefed fleet``: found a fleet, look at it, renew it."""
