"""`tlcli explain`: where in a photo a network sees a class, as heat over the photo."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tlcli.data.hashing import hash_file
from tlcli.errors import DataError, Problem, TlcliError
from tlcli.evaluation import labelled_photos
from tlcli.explain import gradcam, heatmap
from tlcli.explain.explained_model import ExplainedModel, open_run
from tlcli.explain.gradcam import Method
from tlcli.images import contact_sheet, decode
from tlcli.images.loader import PixelSettings, View, batches, chunks
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.inputs import read_split
from tlcli.system import console, files

Array = npt.NDArray[Any]

#: The longer side of a photo on a sheet and in a report, in pixels.
SIDE, REPORT_SIDE = 300, 256

#: Photos that a report shows heat for, unless it is told otherwise.
REPORT_LIMIT = 24


@dataclass(frozen=True)
class Explanation:
    """Where a network sees a class in one photo.

    Attributes:
        path: of the photo.
        name: the class that is explained.
        probability: its probability.
        predicted: the likeliest class.
        heat: float32 0..1 on a grid over the network's input; zeros where nothing speaks for it.
        error: why the photo could not be read; then the rest says nothing.
    """

    path: Path
    name: str = ""
    probability: float = 0.0
    predicted: str = ""
    heat: Array | None = None
    error: str | None = None

    @property
    def cold(self) -> bool:
        """Whether nothing at the layer speaks for the class."""
        return self.heat is not None and not self.heat.any()

    def as_dict(self) -> dict[str, Any]:
        """The form printed by `--json`."""
        if self.error is not None or self.heat is None:
            return {"path": str(self.path), "error": self.error}
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
        subject: the network.
        method: one of `gradcam.Method`.
        layer: by default the end of the last convolutional block; integrated gradients need none.

    Raises:
        UnknownName: for a layer that the network does not have, or that has no grid.
    """

    def __init__(
        self, subject: ExplainedModel, method: Method = "grad-cam", layer: str | None = None
    ) -> None:
        self.subject = subject
        self.method: Method = method
        self.layer = layer or subject.last_block
        self._probe = gradcam.Probe(subject, self.layer)

    def explain(self, photos: Iterable[Path], name: str | None = None) -> Iterator[Explanation]:
        """Explanations in the order of the photos: of class `name`, or each photo's likeliest."""
        number = gradcam.LIKELIEST if name is None else self.subject.class_number(name)
        # A path is its own identity here: the same photo may be asked for twice.
        views = (View(path, str(path)) for path in photos)
        for batch in batches(chunks(views, gradcam.BATCH), self.subject.look):
            made = iter(self._explained(batch.pixels, number) if batch.readable else ())
            for view in batch.views:
                problem = batch.errors.get(view.path)
                if problem is not None:
                    yield Explanation(view.path, error=problem.message)
                else:
                    yield Explanation(view.path, *next(made))

    def _explained(self, pixels: Array, number: int) -> Iterator[tuple[str, float, str, Array]]:
        numbers = np.full(len(pixels), number)
        maps, looked = gradcam.maps(self._probe, pixels, numbers, self.method)
        classes = self.subject.classes
        values = self.subject.probabilities(looked.logits)
        for heat, chosen, row in zip(maps, looked.numbers, values, strict=True):
            yield classes[chosen], float(row[chosen]), classes[row.argmax()], heat


def pictures(made: Explanation, look: PixelSettings, side: int) -> tuple[Image.Image, Image.Image]:
    """The photo with its longer side at `side` pixels, and the same under its heat."""
    photo = decode.decode(made.path)
    shrink = side / max(photo.size)
    size = (max(1, round(photo.width * shrink)), max(1, round(photo.height * shrink)))
    photo = photo.resize(size, Image.Resampling.LANCZOS)
    assert made.heat is not None
    return photo, heatmap.overlay(photo, made.heat, look)


def draw(explainer: Explainer, made: Sequence[Explanation]) -> Image.Image:
    """One sheet: each photo beside itself under its heat, class and probability below them.

    Raises `ImageError` for a photo that cannot be read any more.
    """
    cells = []
    for one in made:
        words = f"{one.name} {one.probability:.4f}"
        if one.predicted != one.name:
            words += f"  (predicted: {one.predicted})"
        if one.cold:
            words += "  nothing supports it"
        shown = pictures(one, explainer.subject.look, SIDE)
        cells.append(contact_sheet.SheetCell(shown, (words, one.path.name)))
    title = f"{explainer.method}, {explainer.layer}"
    if explainer.method == "integrated-gradients":
        title = explainer.method
    width = max(cell.size[0] for cell in cells)
    scale = heatmap.scale(min(width, 2 * SIDE), "nothing", "most, in each photo")
    return contact_sheet.lay(cells, _columns(len(cells)), title=title, footer=scale)


def _columns(cells: int) -> int:
    return 1 if cells == 1 else 2 if cells <= 8 else 3 if cells <= 60 else 6


@dataclass(frozen=True)
class Done:
    """What `tlcli explain` prints, as text and as a value, and whether a photo failed."""

    text: str
    value: dict[str, Any]
    failed: bool


def explain(explainer: Explainer, photos: Sequence[Path], name: str | None, target: Path) -> Done:
    """Explain photos and write their sheet to `target`; those that cannot be read are told."""
    with console.progress(len(photos), explainer.method, "photos") as bar:
        made = []
        for one in explainer.explain(photos, name):
            made.append(one)
            bar.update(1)
    for one in made:
        if one.error is not None:
            console.error(str(Problem(str(one.path), one.error)))
    good = [one for one in made if one.error is None]
    if good:
        contact_sheet.save(draw(explainer, good), target)
    rows = [(one.name, f"{one.probability:.4f}", one.predicted, one.path) for one in good]
    listed = console.table(("class", "probability", "predicted", "photo"), rows)
    text = f"{listed}\n\n{target}" if good else "no photo could be explained"
    value = {
        "model": explainer.subject.name,
        "method": explainer.method,
        "layer": None if explainer.method == "integrated-gradients" else explainer.layer,
        "sheet": str(target) if good else None,
        "photos": [one.as_dict() for one in made],
    }
    return Done(text, value, len(good) < len(made))


def for_report(
    run: Run,
    items: Sequence[dict[str, Any]],
    *,
    limit: int = REPORT_LIMIT,
    data: Path | None = None,
) -> list[dict[str, Any]]:
    """Heat over photos of a run's evaluation, made once and kept in the run.

    Args:
        run: a finished run.
        items: mappings with the `path` and true `label` of a photo, the most important first.
        limit: photos to explain, in that order, each once.
        data: the folder that relative paths start from; by default that of the run's recipe.

    Returns:
        The index that is kept beside the pictures: for each photo path, class (the likeliest),
        probability, label, method, layer and the picture's file name. Photos that cannot be read,
        that have changed, or that the run does not know are left out.
    """
    trained = labelled_photos.data_folder_of(run)
    root = data or trained
    digests = {
        str(root / labelled_photos.photo_name(row, trained)): row.sha256 for row in read_split(run)
    }
    wanted = [
        item
        for item in {item["path"]: item for item in items}.values()
        if _is_of_the_run(root / item["path"], digests)
    ][:limit]
    folder = run.file(directory.EXPLANATIONS)
    explainer = Explainer(open_run(run.file(directory.MODEL)))
    # What is kept stays until the new pictures are all there.
    folder, kept = folder.with_name(f".{folder.name}.new"), folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    entries: list[dict[str, Any]] = []
    with console.progress(len(wanted), "explanations", "photos") as bar:
        found = explainer.explain(root / item["path"] for item in wanted)
        for item, one in zip(wanted, found, strict=True):
            bar.update(1)
            try:
                if one.error is None:
                    entries.append(_keep(explainer, one, item, folder, len(entries) + 1))
            except TlcliError as error:  # the photo went away meanwhile
                console.warn(str(error))
    files.write_json(folder / directory.EXPLANATIONS_INDEX, entries)
    shutil.rmtree(kept, ignore_errors=True)
    folder.rename(kept)
    return entries


def _is_of_the_run(path: Path, digests: dict[str, str]) -> bool:
    try:
        return digests.get(str(path)) == hash_file(path)
    except DataError:
        return False


def _keep(
    explainer: Explainer, one: Explanation, item: dict[str, Any], folder: Path, number: int
) -> dict[str, Any]:
    _, laid = pictures(one, explainer.subject.look, REPORT_SIDE)
    name = f"{number:04d}.png"
    contact_sheet.save(laid, folder / name)
    return {
        "path": item["path"],
        "class": one.name,
        "probability": one.probability,
        "label": item["label"],
        "method": explainer.method,
        "layer": explainer.layer,
        "image": name,
    }
