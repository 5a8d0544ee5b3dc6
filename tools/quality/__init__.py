"""Measuring the quality of the zoo's models: federated, central, and alone."""
