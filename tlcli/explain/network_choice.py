"""Which network a command looks into: that of a run, or a base. Light until it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.errors import WeightsError
from tlcli.networks import bases
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.runs import directory

if TYPE_CHECKING:
    from tlcli.explain.explained_model import ExplainedModel


@dataclass(frozen=True)
class NetworkChoice:
    """The network that a user names.

    Attributes:
        run: a run directory, its name, or a model file; None for the latest run.
        base: the name of a base to open instead of a run.
        weights_file: what the user says of its weights: a file, or `random`.
        access: how weights may be had.
        raw: whether a run's probabilities are to be the network's own.
        precision: that a classifier's base computes in.
    """

    run: str | None
    base: str | None
    weights_file: Path | None
    access: WeightsAccess
    raw: bool = False
    precision: str = "float32"

    def model_file(self) -> Path:
        """The file of the run's model; a `RunError` where there is none."""
        return directory.find_model(self.run, named=False)

    def open_classifier(self) -> ExplainedModel:
        """The model of the run, or the base with its ImageNet classifier.

        Raises a `TlcliError` where it is missing or damaged. TensorFlow, which takes seconds to
        import, comes in only after a run or the name of a base has been found.
        """
        if not self.base:
            return _open_run(self.run, raw=self.raw, precision=self.precision)
        row = _lookup(self.base)
        from tlcli.explain import imagenet_classifier

        return imagenet_classifier.open_classifier(
            row, self.access, self.weights_file, self.precision
        )

    def open_base(self) -> ExplainedModel:
        """The model of the run, or the base without a classifier; raises as `open_classifier`."""
        if not self.base:
            return _open_run(self.run, raw=self.raw)
        row = _lookup(self.base)
        from tlcli.explain import explained_model
        from tlcli.pretrained.weights import find_weights

        where = "--weights" if self.weights_file else "--base"
        source = find_weights(
            row, str(self.weights_file or "imagenet"), where, self.access, expected_by="--base says"
        )
        return explained_model.open_base(row, source)


def _open_run(name: str | None, *, raw: bool, precision: str = "float32") -> ExplainedModel:
    path = directory.find_model(name)
    from tlcli.explain import explained_model

    return explained_model.open_run(path, raw=raw, precision=precision)


def _lookup(base: str) -> bases.PretrainedBase:
    row = bases.lookup(base)
    if row is None:
        raise WeightsError(bases.unknown_base(base, f"--base {base}", where_has_name=True))
    return row
