"""The sheet of `predict --why-sheet`: photos beside the training photos that are most like them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from tlcli.evaluation.prediction import Prediction
from tlcli.images import contact_sheet
from tlcli.images.bit_depth import Depth
from tlcli.images.contact_sheet import SheetRow
from tlcli.images.loader import View
from tlcli.images.small_pictures import small_pictures
from tlcli.system import console

#: Photos on a sheet at most, and pixels of a side of each picture.
MOST_ROWS, SIDE = 40, 128


class WhySheet:
    """Collects predictions with their neighbours while they are printed, and draws them.

    Args:
        root: the folder that the paths of training photos are relative to.
        depth: the recipe's `data.depth`, with which the training photos are read.
    """

    def __init__(self, root: Path, depth: Depth | None) -> None:
        self._root, self._depth = root, depth
        self._shown: list[Prediction] = []
        self._left_out = 0

    def collecting(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Hand predictions on, one by one, and keep those that the sheet will show."""
        for prediction in predictions:
            if prediction.error is None and len(self._shown) < MOST_ROWS:
                self._shown.append(prediction)
            else:
                self._left_out += prediction.error is None
            yield prediction

    def save(self, path: Path) -> None:
        """Draw and write the sheet; a note says where, or that there is no photo to show."""
        if not self._shown:
            console.note("no sheet: no photo could be read")
            return
        contact_sheet.save_sheet(self._draw(), path)
        more = f", the first {MOST_ROWS} photos" if self._left_out else ""
        console.note(f"written: {path}{more}")

    def _draw(self) -> Image.Image:
        near = {
            self._root / neighbour.path: View(str(self._root / neighbour.path), neighbour.sha256)
            for prediction in self._shown
            for neighbour in prediction.neighbours or ()
        }
        photos = {path: View(str(path)) for path in (Path(each.path) for each in self._shown)}
        pictures = small_pictures(near.values(), SIDE, self._depth)
        own = small_pictures(photos.values(), SIDE, self._depth)
        blank = Image.new("RGB", (SIDE, SIDE), contact_sheet.FAINT)
        rows = [
            SheetRow(
                _caption(each),
                [
                    own.get(Path(each.path), blank),
                    *(pictures.get(self._root / n.path, blank) for n in each.neighbours or ()),
                ],
            )
            for each in self._shown
        ]
        most = max(len(row.pictures) for row in rows) - 1
        columns = ["photo", *(f"{number}." for number in range(1, most + 1))]
        lines = ["beside each photo, the training photos most like it, with label and distance"]
        return contact_sheet.lay_out_rows(rows, columns, title="Why", lines=lines)


def _caption(prediction: Prediction) -> str:
    near: Sequence[str] = [
        f"{neighbour.label} {neighbour.distance:.3f}" for neighbour in prediction.neighbours or ()
    ]
    unknown = "unknown: " if prediction.unknown else ""
    answer = f"{unknown}{prediction.label} {prediction.probability:.4f}"
    return f"{Path(prediction.path).name}: {answer}; near: {', '.join(near)}"
