"""The ``energy-gru`` model: definition, recipe, card and built artifact."""
