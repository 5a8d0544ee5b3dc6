"""The ``digits-cnn`` model: definition, recipe, card and built artifact."""
