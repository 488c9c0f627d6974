"""The records of an export: what was asked for, how it compares, what lies beside the model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from tlcli.runs.records import Count, RecordPart, Share

Format = Literal["litert", "onnx", "savedmodel", "keras"]
Quantize = Literal["float16", "dynamic", "int8"]

#: The file, or for SavedModel the folder, that holds the model of each format.
MODEL_FILES: dict[str, str] = {
    "litert": "model.tflite",
    "onnx": "model.onnx",
    "savedmodel": "saved_model",
    "keras": "model.keras",
}

#: What the output is called in every format.
PROBABILITIES = "probabilities"

#: What else lies in the folder of an export.
LABELS, CARD, SCRIPT, README = "labels.txt", "model.json", "predict.py", "README.md"
NEIGHBOURS = "neighbours.npz"


class ExportParity(RecordPart):
    """How the exported model answers the validation and test photos, beside the run's own model.

    Attributes:
        largest, mean: the differences of a probability.
        labels_changed: photos whose likeliest class is another one.
        accuracy: of the exported model, in the interval `low` to `high`; `accuracy_before` is that
            of the run's.
        calibration_error: the expected calibration error of both.
        ms_per_photo: of the exported model, by the size of the batch.
        distance: the largest difference of a distance to the training photos, and in
            `unknown_changed` how many photos are unknown by one model alone; None without features.
        accepted: False where it was kept in spite of a difference beyond the limits.
    """

    photos: PositiveInt
    largest: Share
    mean: Share
    labels_changed: Count
    accuracy: Share
    low: Share
    high: Share
    accuracy_before: Share
    calibration_error: Share
    calibration_error_before: Share
    ms_per_photo: dict[str, PositiveFloat]
    accepted: bool = True
    distance: NonNegativeFloat | None = None
    unknown_changed: Count | None = None


class DecodingDifference(RecordPart):
    """How far the decoding inside a SavedModel is from tlcli's, on so many photos.

    Attributes:
        levels: the mean difference of a value of a pixel, of 255.
        largest: the largest difference of a probability.
    """

    photos: PositiveInt
    levels: NonNegativeFloat
    largest: Share
    labels_changed: Count


class UnknownCard(RecordPart):
    """How an exported model tells photos that are like none of the training photos.

    Attributes:
        file: with the features of so many training photos, `rows`.
        layer: whose output, averaged over the image, the features are.
        limit: the distance beyond which a photo is unknown; None where there is none.
        rate: the share of known photos that is expected beyond it.
        rooted: whether the square roots of features are compared.
    """

    file: str
    rows: PositiveInt
    layer: str
    limit: NonNegativeFloat | None
    rate: Share | None
    rooted: bool = False


class ExportCard(RecordPart):
    """`model.json`: everything that a program needs to know to answer as tlcli does.

    Attributes:
        bytes: of the model.
        sha256: of the model's file; of a SavedModel, of its files in the order of their names.
        input, output: what the model takes and gives, in words and numbers.
        temperature: by which the logits are divided inside; None where they are not.
        threshold: the probability below which an answer is `unsure`, if one is in force.
        unknown: None where it calls no photo unknown.
        run: the name of the run and the fingerprint of its model.
    """

    tlcli: str
    format: Format
    quantize: Quantize | None
    file: str
    bytes: PositiveInt
    sha256: str
    input: dict[str, Any]
    output: dict[str, Any]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    temperature: float | None
    threshold: float | None
    unknown: UnknownCard | None = None
    base: str | None
    run: dict[str, str | None]
    versions: dict[str, str]
    parity: ExportParity | None = None
    serve_bytes: DecodingDifference | None = None
