"""Training: preflight, plan, extraction, stage after stage from stored activations, saving."""
