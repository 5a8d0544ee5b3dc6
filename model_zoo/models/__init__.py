"""The models of the zoo, a folder each."""
