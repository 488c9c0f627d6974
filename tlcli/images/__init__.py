"""Pixels: a file decoded, resized, augmented and batched, in one way for every command."""
