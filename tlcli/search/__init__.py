"""The page of a run: gathered from its records, drawn as one HTML file."""
