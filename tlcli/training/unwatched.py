"""Stages that are trained as a run trains them, of which nothing is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tlcli.data.dataset import Index
from tlcli.features.store import TrunkRows
from tlcli.networks.network import Network
from tlcli.recipe.recipe import Recipe
from tlcli.runs.records import StepMethods
from tlcli.training.batches import StoredFeed, make_training_feed
from tlcli.training.kept_weights import StageOutcome
from tlcli.training.loop import Unwatched, run_stage
from tlcli.training.order import Position
from tlcli.training.stage_plan import StagePlan


def train_unwatched(
    network: Network,
    recipe: Recipe,
    stages: Sequence[StagePlan],
    index: Index,
    rows: Mapping[str, TrunkRows],
    methods: StepMethods,
) -> Iterator[StageOutcome]:
    """Train the first stages of a recipe one after another, each when its outcome is asked for.

    `rows` are those of every cut, and of other boundaries at hand; `methods` is how steps are
    computed. The network has the weights of the best epoch after each stage.
    """
    epochs, val = 0, index.of("val")
    for number, planned in enumerate(stages):
        cut = planned.cut.name
        train = make_training_feed(network, recipe, rows, cut, index.of("train"))
        watched = StoredFeed(network, recipe, rows, cut, val) if val else None
        position = Position(number, epochs)
        outcome = run_stage(
            network, planned, recipe, train, watched, position, Unwatched(), methods=methods
        )
        epochs += len(outcome.history)
        yield outcome
