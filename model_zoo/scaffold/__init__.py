"""What ``edgefed zoo new`` writes: these files are copied, and are yours from then."""
