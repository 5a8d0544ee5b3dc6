"""Boards, units and brokers: data only."""
