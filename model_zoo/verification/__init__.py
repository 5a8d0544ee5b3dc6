"""What ``edgefed zoo verify`` asks of an artifact, and of which runtimes."""
