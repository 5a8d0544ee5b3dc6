"""The ``kws-dscnn`` model: definition, recipe, card and built artifact."""
