"""Fuzzing: every parser of foreign bytes, met with millions of broken inputs."""
