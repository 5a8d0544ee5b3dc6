"""The ``pump-autoencoder`` model: definition, recipe, card and built artifact."""
