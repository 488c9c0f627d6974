"""The recipe: YAML in, an immutable typed `Recipe` out, with its problems and advice."""
