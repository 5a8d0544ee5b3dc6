"""The ``har-mlp`` model: definition, recipe, card and built artifact."""
