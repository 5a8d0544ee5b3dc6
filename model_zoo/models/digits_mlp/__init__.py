"""The ``digits-mlp`` model: definition, recipe, card and built artifact."""
