"""From a run to probabilities, and from those to numbers, calibration, figures and text."""
