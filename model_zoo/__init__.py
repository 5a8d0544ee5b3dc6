"""Model definitions, data sets, and the building of training artifacts."""
