"""Where a device's examples come from: files, topics, Home Assistant, a hook."""
