"""The agent on a device: takes part in rounds with local examples."""
