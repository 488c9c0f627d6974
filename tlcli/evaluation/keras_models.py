"""The model of a run as Keras has it: to answer, or to be converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlcli.networks.engine import KerasEngine
from tlcli.runs.model_file import find_features, find_logits, open_model


def open_keras(path: Path, card: dict[str, Any], precision: str = "float32") -> KerasEngine:
    """The model at `path`, whose card has been read, as an engine that gives its logits."""
    model = open_model(path, card, precision)
    return KerasEngine(model, find_logits(model, path), find_features(model, card))


def open_in_float32(path: Path, card: dict[str, Any]) -> tuple[Any, Any]:
    """The same model, which computes in float32, to be converted, and its logits."""
    model = open_model(path, card)
    return model, find_logits(model, path)
