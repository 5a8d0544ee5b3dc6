"""The ``mnist-cnn`` model: definition, recipe, card and built artifact."""
