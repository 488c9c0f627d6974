"""Heat maps that a run keeps for its report."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlcli.data.hashing import hash_file
from tlcli.errors import DataError, TlcliError
from tlcli.evaluation import labelled_photos
from tlcli.explain.explain import Explainer, photo_with_heat
from tlcli.explain.explained_model import open_run
from tlcli.images import contact_sheet
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
    unchanged = _unchanged(run, items, root)[:limit]
    explainer = Explainer(open_run(run.file(directory.MODEL)))
    # The explanations of before stay until the new ones are complete.
    folder = run.file(directory.EXPLANATIONS)
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    entries = _write_pictures(explainer, unchanged, root, new)
    files.write_json(new / directory.EXPLANATIONS_INDEX, entries)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    return entries


def _unchanged(run: Run, items: Sequence[dict[str, Any]], root: Path) -> list[dict[str, Any]]:
    """The items whose photos are those that the run was made with, each path once."""
    recorded = labelled_photos.data_folder_of(run)
    digests = {
        str(root / labelled_photos.photo_name(row, recorded)): row.sha256 for row in read_split(run)
    }
    once = {item["path"]: item for item in items}
    return [item for item in once.values() if _has_digest(root / item["path"], digests)]


def _has_digest(path: Path, digests: dict[str, str]) -> bool:
    try:
        return digests.get(str(path)) == hash_file(path)
    except DataError:
        return False


def _write_pictures(
    explainer: Explainer, items: Sequence[dict[str, Any]], root: Path, folder: Path
) -> list[dict[str, Any]]:
    """Write the heat map of each item as a file of `folder`; returns the entries of its index."""
    entries: list[dict[str, Any]] = []
    with console.progress(len(items), "explanations", "photos") as bar:
        explanations = explainer.explain(root / item["path"] for item in items)
        for item, explanation in zip(items, explanations, strict=True):
            bar.update(1)
            if explanation.error is not None:
                continue
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
                    "image": name,
                }
            )
    return entries
