"""The ``har-cnn1d`` model: definition, recipe, card and built artifact."""
