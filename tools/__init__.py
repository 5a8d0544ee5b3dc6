"""Tools for people at a workbench: the command line, the demo, benchmarks."""
