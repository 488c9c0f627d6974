"""The feature store: activations of the trunk on disk, addressed by content, and what fills it."""
