"""`tlcli explain`: where in a photo a network sees a class, as a heat map over the photo."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tlcli.errors import Problem
from tlcli.explain import gradcam, heatmap
from tlcli.explain.explained_model import ExplainedModel
from tlcli.explain.gradcam import Method
from tlcli.explain.why import NearestPhotos
from tlcli.images import contact_sheet, decode
from tlcli.images.contents import read_contents
from tlcli.images.loader import (
    Batch,
    PixelSettings,
    View,
    load_batches,
    load_pixels,
    split_into_chunks,
)
from tlcli.system import console

Array = npt.NDArray[Any]

#: The longer side of a photo on a sheet, in pixels.
SHEET_SIDE = 300

NO_NEIGHBOURS = NearestPhotos()


@dataclass(frozen=True)
class Explanation:
    """Where a network sees a class in one photo.

    Attributes:
        path: of the photo.
        name: the class that is explained.
        probability: its probability.
        predicted: the likeliest class.
        heat: float32 0..1 on a grid over the network's input; zeros where nothing supports it.
        digest: hex SHA-256 of the bytes that were explained.
        problem: why the photo could not be read; then the other attributes are empty.
    """

    path: Path
    name: str = ""
    probability: float = 0.0
    predicted: str = ""
    heat: Array | None = None
    digest: str = ""
    problem: Problem | None = None

    @property
    def cold(self) -> bool:
        """Whether nothing at the layer supports the class."""
        return self.heat is not None and not self.heat.any()

    def as_dict(self) -> dict[str, Any]:
        """The form printed by `--json`."""
        if (problem := self.problem) is not None:
            hint = {"hint": problem.hint} if problem.hint else {}
            return {"path": problem.where, "error": problem.message, **hint}
        assert self.heat is not None
        row, column = np.unravel_index(int(self.heat.argmax()), self.heat.shape)
        rows, columns = self.heat.shape
        return {
            "path": str(self.path),
            "class": self.name,
            "probability": self.probability,
            "predicted": self.predicted,
            "grid": [rows, columns],
            # As shares of the network's input, from its left and upper edge.
            "hottest": None if self.cold else [(column + 0.5) / columns, (row + 0.5) / rows],
        }


class Explainer:
    """A network with a classifier, and the layer and method that it is explained by.

    Args:
        network: with `logits`.
        method: one of `gradcam.Method`.
        layer: by default the end of the last convolutional block; integrated gradients need none.

    Raises:
        UnknownName: for a layer that the network does not have, or that has no grid.
    """

    def __init__(
        self, network: ExplainedModel, method: Method = "grad-cam", layer: str | None = None
    ) -> None:
        self.network = network
        self.method: Method = method
        self.layer = layer or network.last_block
        self._probe = gradcam.Probe(network, self.layer)

    def explain(
        self, photos: Iterable[View], name: str | None = None
    ) -> Generator[Explanation, None, None]:
        """Explanations in the order of the photos: of class `name`, or each photo's likeliest."""
        number = gradcam.LIKELIEST if name is None else self.network.class_number(name)
        for batch in load_batches(
            split_into_chunks(photos, gradcam.BATCH), self.network.pixel_settings
        ):
            readable = iter(self.explain_batch(batch, number) if batch.readable else ())
            for view in batch.views:
                problem = batch.errors.get(view.path)
                yield next(readable) if problem is None else Explanation(view.path, problem=problem)

    def explain_batch(self, batch: Batch, number: int) -> Iterator[Explanation]:
        """The explanation of each readable photo, of a class by its number, or `LIKELIEST`."""
        numbers = np.full(len(batch.readable), number)
        maps, layer = gradcam.heat_maps(self._probe, batch.pixels, numbers, self.method)
        classes = self.network.classes
        probabilities = self.network.probabilities(layer.logits)
        for view, heat, explained, row in zip(
            batch.readable, maps, layer.numbers, probabilities, strict=True
        ):
            yield Explanation(
                view.path,
                classes[explained],
                float(row[explained]),
                classes[row.argmax()],
                heat,
                view.digest,
            )


@dataclass(frozen=True)
class ExplainResult:
    """What `tlcli explain` prints, as text and as a value, and whether a photo failed."""

    text: str
    value: dict[str, Any]
    failed: bool


def explain(
    explainer: Explainer,
    photos: Sequence[Path | Problem],
    name: str | None,
    target: Path,
    nearest: NearestPhotos = NO_NEIGHBOURS,
) -> ExplainResult:
    """Explain photos and write their sheet to `target`.

    Args:
        explainer: the network, its layer and the method.
        photos: their paths, or the problems in the place of some; those that cannot be read are
            printed as errors and left out.
        name: of the class to explain; by default each photo's likeliest.
        target: the PNG.
        nearest: the training photos that the photos are most like, if they are to be shown.
    """
    explanations = []
    views = (View(str(photo)) for photo in photos if isinstance(photo, Path))
    answers = explainer.explain(views, name)
    with console.progress(len(photos), explainer.method, "photos") as bar:
        for photo in photos:
            if isinstance(photo, Problem):
                explanations.append(Explanation(Path(photo.where), problem=photo))
            else:
                explanations.append(next(answers))
            bar.update(1)
    for explanation in explanations:
        if explanation.problem is not None:
            console.error(str(explanation.problem))
    readable = [explanation for explanation in explanations if explanation.problem is None]
    if readable:
        contact_sheet.save_sheet(draw_sheet(explainer, readable, nearest), target)
    value = {
        "model": explainer.network.name,
        "method": explainer.method,
        "layer": None if explainer.method == "integrated-gradients" else explainer.layer,
        "precision": explainer.network.precision,
        "sheet": str(target) if readable else None,
        "photos": [
            explanation.as_dict() | _neighbours(nearest, explanation.path)
            for explanation in explanations
        ],
    }
    text = _text(explainer, readable, target, nearest)
    return ExplainResult(text, value, len(readable) < len(explanations))


def _neighbours(nearest: NearestPhotos, photo: Path) -> dict[str, Any]:
    near = nearest.of(photo)
    return {"neighbours": [each.as_dict() for each in near]} if near else {}


def _text(
    explainer: Explainer,
    readable: Sequence[Explanation],
    target: Path,
    nearest: NearestPhotos,
) -> str:
    if not readable:
        return "no photo could be explained"
    rows = [(row.name, f"{row.probability:.4f}", row.predicted, row.path) for row in readable]
    listed = console.table(("class", "probability", "predicted", "photo"), rows)
    lines = map(console.one_line, nearest.lines(row.path for row in readable))
    how = f"{explainer.method}, computed in {explainer.network.precision}"
    return "\n".join([listed, "", *lines, how, str(target)])


def draw_sheet(
    explainer: Explainer,
    explanations: Sequence[Explanation],
    nearest: NearestPhotos = NO_NEIGHBOURS,
) -> Image.Image:
    """One sheet: each photo beside itself under its heat, class and probability below them.

    Beside it are the training photos that it is most like, if there are any. Raises `ImageError`
    for a photo that cannot be read any more.
    """
    settings = explainer.network.pixel_settings
    pictures = nearest.draw(SHEET_SIDE)
    cells = []
    for explanation in explanations:
        near = nearest.of(explanation.path)
        shown = [pictures[each.path] for each in near if each.path in pictures]
        like = ", ".join(f"{each.label} {each.distance:.3f}" for each in near)
        lines = (_caption(explanation), explanation.path.name, *([f"like {like}"] if like else []))
        heat = photo_with_heat(explanation, settings, SHEET_SIDE)
        cells.append(contact_sheet.SheetCell((*heat, *shown), lines))
    title = f"{explainer.network.title}: {explainer.method}"
    if explainer.method != "integrated-gradients":
        title += f", {explainer.layer}"
    width = max(cell.size[0] for cell in cells)
    scale = heatmap.draw_scale(
        min(width, 2 * SHEET_SIDE), "nothing", "most, in each photo", overlay=True
    )
    return contact_sheet.lay_out_cells(cells, _columns(len(cells)), title=title, footer=scale)


def _caption(explanation: Explanation) -> str:
    caption = f"{explanation.name} {explanation.probability:.4f}"
    if explanation.predicted != explanation.name:
        caption += f"  (predicted: {explanation.predicted})"
    if explanation.cold:
        caption += "  nothing supports it"
    return caption


def _columns(cells: int) -> int:
    return 1 if cells == 1 else 2 if cells <= 8 else 3 if cells <= 60 else 6


def photo_with_heat(
    explanation: Explanation, settings: PixelSettings, side: int
) -> tuple[Image.Image, Image.Image]:
    """The photo with its longer side at `side` pixels, and the same under its heat.

    Raises `ImageError` for a photo that has changed since it was explained.
    """
    content = read_contents(explanation.path, explanation.digest).content
    return _lay_heat(content, explanation, settings, side)


def content_with_heat(
    explainer: Explainer, content: bytes, name: str, label: str | None, side: int
) -> Image.Image:
    """The photo in these bytes under its heat, its longer side at `side` pixels.

    Args:
        name: what messages call the photo.
        label: the class to explain; by default the likeliest.

    Raises:
        ImageError: where the bytes cannot be decoded.
        UnknownName: where there is no such class.
    """
    network = explainer.network
    number = gradcam.LIKELIEST if label is None else network.class_number(label, "class")
    settings = network.pixel_settings
    pixels = load_pixels(content, name, settings)[None].astype(np.float32)
    view = View(name, hashlib.sha256(content).hexdigest())
    (explanation,) = explainer.explain_batch(Batch([view], [view], pixels, {}), number)
    return _lay_heat(content, explanation, settings, side)[1]


def _lay_heat(
    content: bytes, explanation: Explanation, settings: PixelSettings, side: int
) -> tuple[Image.Image, Image.Image]:
    """The photo in these bytes with its longer side at `side` pixels, without and under heat."""
    assert explanation.heat is not None
    photo = decode.decode(content, name=str(explanation.path), depth=settings.depth)
    shrink = side / max(photo.size)
    size = (max(1, round(photo.width * shrink)), max(1, round(photo.height * shrink)))
    photo = photo.resize(size, Image.Resampling.LANCZOS)
    return photo, heatmap.overlay_heat(photo, explanation.heat, settings)
