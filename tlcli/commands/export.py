"""`tlcli export`: a run for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlcli.commands.options import PATH, print_result, with_data, with_json, with_raw, with_run

if TYPE_CHECKING:
    from tlcli.export.records import Format, Quantize


@click.command()
@with_run
@click.option("--format", "form", type=click.Choice(["litert", "onnx", "savedmodel", "keras"]),
              help="The runtime to write for.")  # fmt: skip
@click.option("--quantize", type=click.Choice(["float16", "dynamic", "int8"]),
              help="Smaller weights; with int8 activations, too.  [default: float32]")  # fmt: skip
@click.option("--out", type=PATH, help="The folder to write.  [default: RUN-FORMAT-QUANTIZE]")
@click.option("--force", is_flag=True, help="Replace an earlier export in --out.")
@click.option("--allow-difference", is_flag=True,
              help="Keep it even if it answers otherwise than the run, and mark it.")  # fmt: skip
@click.option("--check", "checked", type=PATH,
              help="Compare this export with its run once more.")  # fmt: skip
@with_data
@with_raw
@with_json
def export(
    run_name: str | None, form: Format | None, quantize: Quantize | None, out: Path | None,
    force: bool, allow_difference: bool, checked: Path | None, data: Path | None, raw: bool,
    json_: bool,
) -> None:  # fmt: skip
    """Write the model of a run for another runtime, and prove that it answers the same.

    \b
    Example:
      tlcli export --format litert --quantize float16
      tlcli export cats_dogs-3 --format onnx --out cats_dogs
      tlcli export --check cats_dogs
    """
    if (form is None) == (checked is None):
        raise click.UsageError("give --format, or --check with an export")
    from tlcli.export.export import ModelExportRequest, check
    from tlcli.export.export import export as write
    from tlcli.runs.directory import find_run

    if form is not None:
        request = ModelExportRequest(form, quantize, out, raw, allow_difference, force, data)
        done = write(find_run(run_name), request)
    elif checked is not None:
        done = check(checked, run_name, data)
    print_result((done.text(), done.as_json()), json_)
