"""Trainers: one module for each runtime, imported only when chosen."""
