"""Joining a fleet with a token; an agent at work loads nothing of it."""
