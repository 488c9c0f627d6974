"""tlcli: fine-tune pretrained image classifiers on your own photos, from a YAML recipe.

    import tlcli

    trained = tlcli.finetune("cats_dogs.yaml")
    for photo in tlcli.Predictor().predict(["cat.jpg"]):
        print(photo.label, photo.probability)

All names are loaded when they are first used, so that the import itself takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tlcli._version import __version__

if TYPE_CHECKING:
    from tlcli.api import (
        evaluate,
        extract_features,
        finetune,
        load_recipe,
        verbose,
        write_report,
    )
    from tlcli.errors import (
        BoundaryError,
        DataError,
        ImageError,
        Problem,
        RecipeError,
        RequirementError,
        RunError,
        StoreError,
        TlcliError,
        WeightsError,
    )
    from tlcli.evaluation.predict import Predictor

__all__ = [
    "BoundaryError",
    "DataError",
    "ImageError",
    "Predictor",
    "Problem",
    "RecipeError",
    "RequirementError",
    "RunError",
    "StoreError",
    "TlcliError",
    "WeightsError",
    "__version__",
    "evaluate",
    "extract_features",
    "finetune",
    "load_recipe",
    "verbose",
    "write_report",
]

#: The modules where the names live, in the order in which they are looked through.
_HOMES = {
    "tlcli.api": (
        "evaluate", "extract_features", "finetune", "load_recipe", "verbose", "write_report",
    ),
    "tlcli.evaluation.predict": ("Predictor",),
    "tlcli.errors": (
        "BoundaryError", "DataError", "ImageError", "Problem", "RecipeError", "RequirementError",
        "RunError", "StoreError", "TlcliError", "WeightsError",
    ),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """A name of the interface, loaded with all that it needs (PEP 562)."""
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(importlib.import_module(home), name)
            return value
    raise AttributeError(f"module 'tlcli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
