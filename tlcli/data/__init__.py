"""Labelled photos: from folders or a table to an index, with what is wrong with them."""
