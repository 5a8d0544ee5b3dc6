"""Federated averaging in one process, with the product's own functions."""
