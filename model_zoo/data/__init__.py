"""Data sets, where they come from, and how examples are spread over devices."""
