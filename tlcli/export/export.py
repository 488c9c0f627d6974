"""The work of `tlcli export`: a run as a folder for another runtime, proved before it is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlcli._version import __version__
from tlcli.errors import Problem, RunError, reason
from tlcli.evaluation.calibration import RAW, Calibration, read_calibration
from tlcli.evaluation.keras_models import open_in_float32, open_keras
from tlcli.evaluation.labelled_photos import LabelledPhotos, spread_evenly
from tlcli.export import documents, parity
from tlcli.export.folder import check_target, hash_of, new_folder, size_of
from tlcli.export.neighbours import (
    describe_features,
    find_features,
    open_features,
    write_features,
)
from tlcli.export.photos import proof_photos, training_pixels
from tlcli.export.records import (
    CARD,
    LABELS,
    MODEL_FILES,
    README,
    SCRIPT,
    DecodingDifference,
    ExportCard,
    ExportParity,
    Format,
    Quantize,
)
from tlcli.export.runtimes import open_exported, require_runtime
from tlcli.images.decode import GAP
from tlcli.images.loader import PixelSettings
from tlcli.runs import directory, model_file
from tlcli.runs.directory import MODEL, Run
from tlcli.runs.fingerprints import recorded_fingerprints
from tlcli.runs.model_file import archive_fingerprint, read_card
from tlcli.system import console, files

#: Photos on which the decoding inside a SavedModel is compared.
DECODED_PHOTOS = 100


@dataclass(frozen=True)
class ModelExportRequest:
    """What to export.

    Attributes:
        out: the folder to write; None for one in the working folder, named by run, format and
            quantization.
        data: where the data folder of the run is now, if it has moved.
    """

    form: Format
    quantize: Quantize | None = None
    out: Path | None = None
    raw: bool = False
    allow_difference: bool = False
    force: bool = False
    data: Path | None = None


@dataclass(frozen=True)
class Exported:
    """A folder that was exported, or checked, and what is in it."""

    folder: Path
    card: ExportCard
    parity: ExportParity

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "file": str(self.folder / self.card.file),
            "format": self.card.format,
            "quantize": self.card.quantize,
            "bytes": self.card.bytes,
            "parity": self.parity.model_dump(mode="json"),
        }

    def text(self) -> str:
        """The same as people read it."""
        from tlcli.export.parity_text import describe_parity

        size = console.size(self.card.bytes)
        return f"{self.folder / self.card.file}: {size}\n{describe_parity(self.parity)}"


def export(run: Run, request: ModelExportRequest) -> Exported:
    """Write the model of a run in another format, read it back, compare, and keep the folder.

    Raises a `TlcliError` where the format cannot be had, the folder is in use, photos are missing,
    or the exported model answers otherwise; nothing is left under the final name then.
    """
    _check_request(request)
    require_runtime(request.form)
    parts = (run.path.resolve().name, request.form, request.quantize)
    out = request.out or Path("-".join(part for part in parts if part))
    check_target(out, force=request.force)
    model = _OpenModel(run, raw=request.raw)
    photos = proof_photos(run, model.classes, request.data)
    with new_folder(out) as folder:
        exported = _build(folder, run, model, photos, request)
    return replace(exported, folder=out)


def check(path: Path, which: str | None = None, data: Path | None = None) -> Exported:
    """Compare an exported model with its run once more.

    Raises a `TlcliError` where it has changed, belongs to another run, or answers otherwise.
    """
    folder = path if (path / CARD).is_file() else path.parent
    card = _read_card(folder)
    require_runtime(card.format)
    if hash_of(folder / card.file) != card.sha256:
        message = "has changed since it was exported"
        raise RunError(Problem(str(folder / card.file), message, "export it again"))
    run = directory.find_run(which or card.run["name"])
    model = _OpenModel(run, raw=card.temperature is None)
    if card.run["model"] != archive_fingerprint(run.file(MODEL)):
        message = f"was exported from another model than that of {run.path}"
        raise RunError(Problem(str(folder / card.file), message, "name its run with --run"))
    if model.calibration.temperature != card.temperature:
        message = f"has the temperature {card.temperature}, the run {model.calibration.temperature}"
        raise RunError(Problem(str(folder / card.file), message, "export it again"))
    photos = proof_photos(run, model.classes, data)
    if card.unknown is not None and not model.engine.has_features:
        message = "was exported with features, which the run's model does not give"
        raise RunError(Problem(str(folder / card.file), message, "export it again"))
    measured = _prove(folder, card, model, photos)
    if excess := parity.find_excess(measured, card.quantize):
        raise RunError(Problem(str(folder / card.file), excess, "export it again"))
    return Exported(folder, card, measured)


class _OpenModel:
    """The model of a run: in float32 for the export, and as it is for the comparison."""

    def __init__(self, run: Run, *, raw: bool) -> None:
        path = run.file(MODEL)
        self.card = read_card(path)
        self.classes = tuple(self.card["classes"])
        self.settings = PixelSettings.from_card(self.card)
        calibration = RAW if raw else read_calibration(run)
        self.calibration: Calibration = calibration.without_threshold()
        self.threshold = calibration.threshold.probability if calibration.threshold else None
        self.engine = open_keras(path, self.card)
        self.model, self.logits = open_in_float32(path, self.card)
        self.features = model_file.find_features(self.model, self.card)


def _build(
    folder: Path,
    run: Run,
    model: _OpenModel,
    photos: list[LabelledPhotos],
    request: ModelExportRequest,
) -> Exported:
    """Everything in a folder that nobody sees yet."""
    from tlcli.export.writers import write_model

    content = find_features(run, len(model.classes), request.quantize)
    content = content if model.engine.has_features else None
    card = _card(run, model, request)
    if content is not None:
        card = card.model_copy(update={"unknown": describe_features(content, card.base or "")})
        write_features(folder, content)
    labels = documents.labels_text(model.classes)
    files.write_text(folder / LABELS, labels)
    is_int8 = request.quantize == "int8"
    inner = card.model_dump_json(exclude={"bytes", "sha256", "parity", "serve_bytes"}, indent=2)
    files.write_text(folder / CARD, inner)
    try:
        write_model(
            request.form,
            request.quantize,
            model.model,
            model.logits,
            model.calibration.temperature,
            folder / card.file,
            resize=model.settings.resize,
            texts={LABELS: labels, CARD: inner},
            photos=training_pixels(run, model.settings, request.data) if is_int8 else (),
            features=model.features if content is not None else None,
        )
        path = folder / card.file
        card = card.model_copy(update={"bytes": size_of(path), "sha256": hash_of(path)})
        measured = _prove(folder, card, model, photos)
    except (ValueError, RuntimeError, NotImplementedError) as error:
        message = f"{card.base} cannot be exported so: {reason(error)[:300]}"
        raise RunError(Problem(f"--format {request.form}", message, "use another")) from error
    if excess := parity.find_excess(measured, request.quantize):
        if not request.allow_difference:
            hint = "use another --quantize or --format; --allow-difference keeps it"
            raise RunError(Problem(f"--format {request.form}", excess, hint))
        console.warn(f"kept in spite of this: {excess}")
        measured = measured.model_copy(update={"accepted": False})
    difference = _decoding(folder, card, model, photos) if request.form == "savedmodel" else None
    card = card.model_copy(update={"parity": measured, "serve_bytes": difference})
    files.write_json(folder / CARD, card.model_dump(mode="json"))
    files.write_text(folder / SCRIPT, documents.script(card))
    files.write_text(folder / README, documents.readme(card))
    return Exported(folder, card, measured)


def _prove(
    folder: Path, card: ExportCard, model: _OpenModel, photos: list[LabelledPhotos]
) -> ExportParity:
    size = (model.settings.height, model.settings.width)
    unknown = card.unknown
    layer = unknown.layer if unknown else None
    exported = open_exported(card.format, folder / card.file, size, layer)
    neighbours = None
    if unknown:
        neighbours = open_features(folder, rooted=unknown.rooted), unknown.limit
    return parity.measure_parity(
        model.engine, exported, photos, model.settings, model.calibration, neighbours
    )


def _card(run: Run, model: _OpenModel, request: ModelExportRequest) -> ExportCard:
    record = run.record()
    return ExportCard(
        tlcli=__version__,
        format=request.form,
        quantize=request.quantize,
        file=MODEL_FILES[request.form],
        bytes=1,
        sha256="",
        input={
            "name": "pixels",
            "dtype": "float32",
            "height": model.settings.height,
            "width": model.settings.width,
            "channels": "RGB",
            "range": [0, 255],
            "resize": model.settings.resize,
            "filter": "bilinear, antialiased",
            "reducing_gap": GAP,
            "exif": "upright",
        },
        output={"name": "probabilities", "dtype": "float32", "classes": len(model.classes)},
        classes=model.classes,
        temperature=model.calibration.temperature,
        threshold=model.threshold,
        base=model.card.get("base"),
        run={
            "name": run.path.resolve().name,
            "model": archive_fingerprint(run.file(MODEL)),
            **recorded_fingerprints(run),
        },
        versions={str(k): str(v) for k, v in (record.get("versions") or {}).items()},
    )


def _decoding(
    folder: Path, card: ExportCard, model: _OpenModel, photos: list[LabelledPhotos]
) -> DecodingDifference | None:
    """How far `serve_bytes` is from tlcli's decoding, on JPEG and PNG files of the run."""
    from tlcli.export.saved_model import compare_decoding

    listed = [photo for split in photos for photo in split.photos]
    sample = spread_evenly(listed, DECODED_PHOTOS)
    return compare_decoding(folder / card.file, sample, model.settings)


def _check_request(request: ModelExportRequest) -> None:
    """Raise `RunError` for what no conversion gives, before any work."""
    impossible = {
        "keras": (("float16", "dynamic", "int8"), "Keras files keep their weights in float32"),
        "savedmodel": (("dynamic", "int8"), "TensorFlow computes with float32 weights"),
        "onnx": (("dynamic",), "ONNX Runtime is several times slower so at convolutions"),
    }
    forms, why = impossible.get(request.form, ((), ""))
    if request.quantize in forms:
        where = f"--format {request.form} --quantize {request.quantize}"
        raise RunError(Problem(where, why, "use litert, or another --quantize"))


def _read_card(folder: Path) -> ExportCard:
    path = folder / CARD
    try:
        return ExportCard.model_validate(files.read_json(path))
    except (OSError, ValueError) as error:
        hint = "name a folder that `tlcli export` has written"
        raise RunError(Problem(f"--check {folder}", f"has no valid {CARD}", hint)) from error
