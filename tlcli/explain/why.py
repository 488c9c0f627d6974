"""The training photos that photos are most like, beside their heat maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tlcli.errors import Problem
from tlcli.evaluation.neighbours import NearPhoto
from tlcli.evaluation.predict import Predictor
from tlcli.images.bit_depth import Depth
from tlcli.images.loader import View
from tlcli.images.small_pictures import small_pictures
from tlcli.runs.inputs import read_recipe
from tlcli.runs.model_file import run_of_model


@dataclass(frozen=True)
class NearestPhotos:
    """The training photos nearest to some photos, by the paths of these.

    Attributes:
        root: the folder that the paths of training photos are relative to.
        depth: the recipe's `data.depth`.
    """

    by_photo: Mapping[Path, tuple[NearPhoto, ...]] = field(default_factory=dict)
    root: Path = Path()
    depth: Depth | None = None

    def of(self, photo: Path) -> tuple[NearPhoto, ...]:
        """Those of a photo, nearest first; none where nobody asked."""
        return self.by_photo.get(photo, ())

    def draw(self, side: int) -> dict[str, Image.Image]:
        """Pictures of `side` pixels by the paths in `NearPhoto`; less those that are not there."""
        near = {each.path: each for nearest in self.by_photo.values() for each in nearest}
        views = [View(str(self.root / path), each.sha256) for path, each in near.items()]
        pictures = small_pictures(views, side, self.depth)
        return {path: pictures[at] for path in near if (at := self.root / path) in pictures}

    def lines(self, photos: Iterable[Path]) -> Iterator[str]:
        """A line for each neighbour of some photos, under the name of the photo."""
        for photo in photos:
            if nearest := self.of(photo):
                yield f"{photo}: most like"
                for each in nearest:
                    yield f"    {each.distance:.4f}  {each.label}  {each.path}"


def find_nearest(model: Path, photos: Iterable[Path], count: int) -> NearestPhotos:
    """The `count` training photos of a run's model that are most like each photo.

    Photos that cannot be read have none. Raises `RunError` where the run has no features of its
    training photos.
    """
    predictor = Predictor(model, why=count)
    run = run_of_model(model)
    assert run is not None  # or it could not have been opened with `why`
    data = read_recipe(run).data
    paths = list(photos)
    neighbours = {}
    for path, answer in zip(
        paths, predictor.stream(View(str(path)) for path in paths), strict=True
    ):
        if not isinstance(answer, Problem) and answer.likeness is not None:
            neighbours[path] = answer.likeness.neighbours or ()
    return NearestPhotos(neighbours, data.root, data.depth)
