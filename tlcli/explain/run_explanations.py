"""Heat maps that a run keeps for its report."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tlcli.errors import TlcliError
from tlcli.evaluation import labelled_photos
from tlcli.explain.explain import Explainer, photo_with_heat
from tlcli.explain.explained_model import open_run
from tlcli.images import contact_sheet
from tlcli.images.loader import View
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.inputs import read_split
from tlcli.system import console, files

#: The longer side of a photo in a report, in pixels.
REPORT_SIDE = 256

#: Photos that a report shows heat maps of by default.
REPORT_LIMIT = 24


def explain_for_report(
    run: Run,
    items: Sequence[dict[str, Any]],
    *,
    limit: int = REPORT_LIMIT,
    data: Path | None = None,
) -> list[dict[str, Any]]:
    """Heat maps of photos of a run's evaluation, made once and kept in the run.

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
    root = data or labelled_photos.data_folder_of(run)
    explainer = Explainer(open_run(run.file(directory.MODEL)))
    # The explanations of before stay until the new ones are complete.
    folder = run.file(directory.EXPLANATIONS)
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    photos = _photos_of_run(run, items, root) if limit else []
    entries = _write_pictures(explainer, photos, new, limit)
    files.write_json(new / directory.EXPLANATIONS_INDEX, entries)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    return entries


def _photos_of_run(
    run: Run, items: Sequence[dict[str, Any]], root: Path
) -> list[tuple[dict[str, Any], View]]:
    """The items that name photos of the run, each path once, with the bytes that the run knows."""
    recorded = labelled_photos.data_folder_of(run)
    digests = {
        str(root / labelled_photos.photo_name(row, recorded)): row.sha256 for row in read_split(run)
    }
    once = {item["path"]: item for item in items}
    located = ((item, root / item["path"]) for item in once.values())
    return [
        (item, View(str(path), digests[str(path)]))
        for item, path in located
        if str(path) in digests
    ]


def _write_pictures(
    explainer: Explainer, photos: Sequence[tuple[dict[str, Any], View]], folder: Path, limit: int
) -> list[dict[str, Any]]:
    """Write the heat maps of the first `limit` photos that can be read and have not changed.

    Each is a file of `folder`. Returns the entries of its index.
    """
    entries: list[dict[str, Any]] = []
    explanations = explainer.explain(view for _, view in photos)
    with (
        closing(explanations),
        console.progress(min(limit, len(photos)), "explanations", "photos") as bar,
    ):
        for (item, _), explanation in zip(photos, explanations, strict=True):
            if explanation.problem is not None:
                continue
            bar.update(1)
            name = f"{len(entries) + 1:04d}.png"
            try:
                settings = explainer.network.pixel_settings
                _, picture = photo_with_heat(explanation, settings, REPORT_SIDE)
                contact_sheet.save_sheet(picture, folder / name)
            except TlcliError as error:  # the photo has been removed meanwhile
                console.warn(str(error))
                continue
            entries.append(
                {
                    "path": item["path"],
                    "class": explanation.name,
                    "probability": explanation.probability,
                    "label": item["label"],
                    "method": explainer.method,
                    "layer": explainer.layer,
                    "precision": explainer.network.precision,
                    "image": name,
                }
            )
            if len(entries) == limit:
                break
    return entries
