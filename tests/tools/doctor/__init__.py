"""Tests of ``tools/doctor``."""
