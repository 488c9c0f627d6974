"""Which engine answers for a model: LiteRT from the run's instant file, or Keras.

The instant file is there to start at once. Where so many photos are given that the start does not
matter, the engine is used that computes them faster on this machine, which is measured once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tlcli.errors import Problem, RunError
from tlcli.evaluation.keras_models import open_keras
from tlcli.images.loader import BATCH_SIZE
from tlcli.networks.engine import EngineName, FeatureEngine, LiteRTEngine, time_calls
from tlcli.networks.precision import choose_precision
from tlcli.runs.directory import INSTANT, Run
from tlcli.runs.instant_file import InstantFileError, read_instant_file
from tlcli.runs.model_file import read_card, run_of_model
from tlcli.system import console, files
from tlcli.system.measured_speeds import Speeds, add_speeds, machine_key, read_speeds
from tlcli.system.packages import installed_version

#: From so many photos on, the time for each counts more than the start of TensorFlow.
MANY_PHOTOS = 500

#: Calls that are measured; the fastest counts.
_CALLS = 3

#: The file in the cache folder with what was measured on this machine.
SPEEDS = "engines.json"

RUNTIME = "ai-edge-litert"


class ChosenEngine(NamedTuple):
    """An engine for a model, in a few words why it was chosen, and what its base computes in."""

    engine: FeatureEngine
    why: str
    precision: str = "float32"


def choose_engine(
    model: Path,
    asked: EngineName | None = None,
    photos: int | None = None,
    precision: str = "auto",
) -> ChosenEngine:
    """The engine for a model that lies in a run, or alone.

    Args:
        asked: the engine that a user names; for `instant` the file is made where it is missing.
        photos: how many there are, if that is known.
        precision: that a user names for the base; `auto` is float32, and from `MANY_PHOTOS` on what
            Keras is faster in on this machine.

    Raises:
        RunError: where the model is missing or damaged, or cannot be used as it is asked.
    """
    card = read_card(model)
    many = photos is not None and photos >= MANY_PHOTOS
    if precision == "auto":
        precision = _fast_precision(card) if many and asked != "instant" else "float32"
    elif precision != "float32":
        if asked == "instant":
            hint = "leave one of them out"
            raise RunError(Problem(f"--precision {precision}", f"{INSTANT} is in float32", hint))
        return _keras(model, card, precision, f"--precision {precision}")
    if asked == "keras":
        why = "--engine keras" + (f", in {precision}" if precision != "float32" else "")
        return _keras(model, card, precision, why)
    run = run_of_model(model)
    if run is None:
        if asked == "instant":
            message = "only the model of a run has an instant file"
            raise RunError(Problem("--engine instant", message, "name a run with --run"))
        return _keras(model, card, precision, "the model lies in no run")
    if asked == "instant":
        return _instant_at_any_rate(run, model, card)
    try:
        engine = _open_instant(run, model, card)
    except FileNotFoundError:
        why = f"the run has no {INSTANT}; `tlcli predict --engine instant` makes it"
        return _keras(model, card, precision, why)
    except ImportError:
        return _keras(model, card, precision, f"{RUNTIME} is not installed")
    except InstantFileError as error:
        hint = "Keras answers; `tlcli predict --engine instant` makes it anew"
        console.warn(str(Problem(str(run.file(INSTANT)), str(error), hint)))
        return _keras(model, card, precision, f"{INSTANT} {error}")
    if not many:
        return ChosenEngine(engine, f"{INSTANT} of the run")
    return _faster(engine, model, card, precision)


def _keras(model: Path, card: dict[str, Any], precision: str, why: str) -> ChosenEngine:
    return ChosenEngine(open_keras(model, card, precision), why, precision)


def _fast_precision(card: dict[str, Any]) -> str:
    """What Keras computes the base of a model fastest in on this machine."""
    choice = choose_precision(str(card.get("base")), files.cache_folder())
    # TLCLI_PRECISION may name mixed_float16, which is for training alone.
    return "mixed_bfloat16" if choice.precision == "mixed_bfloat16" else "float32"


def _open_instant(run: Run, model: Path, card: dict[str, Any]) -> LiteRTEngine:
    """The engine from a run's instant file; errors as `read_instant_file`, and `ImportError`."""
    path = run.file(INSTANT)
    if not path.is_file():
        raise FileNotFoundError(path)
    flatbuffer = read_instant_file(path, model)
    try:
        return LiteRTEngine(flatbuffer, card["image_size"])
    except ValueError as error:
        raise InstantFileError(f"cannot be used: {error}") from error


def _instant_at_any_rate(run: Run, model: Path, card: dict[str, Any]) -> ChosenEngine:
    """The engine from the instant file, which is made where it is missing or of no use."""
    try:
        return ChosenEngine(_open_instant(run, model, card), "--engine instant")
    except (FileNotFoundError, InstantFileError):
        from tlcli.evaluation.instant import make_instant_file

        console.note(f"making {console.one_line(str(run.file(INSTANT)))}")
        return ChosenEngine(make_instant_file(run), f"--engine instant, {INSTANT} made now")
    except ImportError:
        hint = f"install it: pip install {RUNTIME}"
        raise RunError(Problem("--engine instant", f"{RUNTIME} is not installed", hint)) from None


def _faster(
    engine: LiteRTEngine, model: Path, card: dict[str, Any], precision: str
) -> ChosenEngine:
    """Of both engines for the model the one that takes less time for a batch on this machine."""
    cache = files.cache_folder() / SPEEDS
    versions = RUNTIME, installed_version(RUNTIME)
    key = machine_key(*versions, card.get("base"), card["image_size"], precision)
    seconds = read_speeds(cache, _parse_speeds).get(key)
    engines: dict[str, FeatureEngine] = {"instant": engine}
    if seconds is None:
        pixels = np.zeros((BATCH_SIZE, *card["image_size"], 3), np.float32)
        engines["keras"] = open_keras(model, card, precision)
        seconds = {name: min(time_calls(each, pixels, _CALLS)) for name, each in engines.items()}
        seconds = add_speeds(cache, _parse_speeds, key, seconds)
    rate = {name: BATCH_SIZE / each for name, each in seconds.items()}
    why = f"{rate['instant']:.0f} photos/s with it, {rate['keras']:.0f} with Keras on this machine"
    why += f", in {precision}" if precision != "float32" else ""
    if seconds["instant"] <= seconds["keras"]:
        return ChosenEngine(engine, why)
    if "keras" in engines:
        return ChosenEngine(engines["keras"], why, precision)
    return _keras(model, card, precision, why)


def _parse_speeds(value: Any) -> Speeds:
    return {
        str(key): {name: float(speeds[name]) for name in ("instant", "keras")}
        for key, speeds in value.items()
        if all(speeds[name] > 0 for name in ("instant", "keras"))
    }
