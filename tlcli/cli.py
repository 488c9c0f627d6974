"""The command line: translates words into calls, and exceptions into lines and exit codes.

Exit codes: 0 success; 1 something is wrong with the recipe, the data or the machine; 2 the command
line is wrong; 129, 130 and 143 stopped by SIGHUP, Ctrl-C and SIGTERM. A bug keeps its traceback.
"""

from __future__ import annotations

import click

from tlcli._version import __version__
from tlcli.commands.advise import advise
from tlcli.commands.audit import audit
from tlcli.commands.bases import bases
from tlcli.commands.cache import cache
from tlcli.commands.check import check
from tlcli.commands.compare import compare
from tlcli.commands.completion import completion
from tlcli.commands.curves import curves
from tlcli.commands.doctor import doctor
from tlcli.commands.evaluate import evaluate
from tlcli.commands.explain import explain
from tlcli.commands.export import export
from tlcli.commands.extract import extract
from tlcli.commands.find_lr import find_lr
from tlcli.commands.finetune import finetune
from tlcli.commands.group import CommandGroup
from tlcli.commands.init import init
from tlcli.commands.predict import predict
from tlcli.commands.preview import preview
from tlcli.commands.probe import probe
from tlcli.commands.report import report
from tlcli.commands.reproduce import reproduce
from tlcli.commands.runs import runs
from tlcli.commands.sample import sample
from tlcli.commands.schema import schema
from tlcli.commands.serve import serve
from tlcli.commands.suggest import suggest
from tlcli.commands.tune import tune
from tlcli.commands.visualize import visualize
from tlcli.commands.weights import weights
from tlcli.system import console, tones


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", "-V", prog_name="tlcli")
@click.option("--quiet", "-q", is_flag=True, help="No notes and no progress.")
@click.option("--no-color", is_flag=True, help="No colours. Also NO_COLOR=1.")
def main(quiet: bool, no_color: bool) -> None:
    """Fine-tune pretrained image classifiers on your own photos.

    \b
    Example:
      tlcli init photos
      tlcli finetune --config photos.yaml
      tlcli predict photo.jpg
    """
    console.configure(quiet=quiet)
    tones.choose(wanted=not no_color)


main.add_command(advise)
main.add_command(audit)
main.add_command(bases)
main.add_command(cache)
main.add_command(check)
main.add_command(compare)
main.add_command(completion)
main.add_command(curves)
main.add_command(doctor)
main.add_command(evaluate)
main.add_command(explain)
main.add_command(export)
main.add_command(extract)
main.add_command(find_lr)
main.add_command(finetune)
main.add_command(init)
main.add_command(predict)
main.add_command(preview)
main.add_command(probe)
main.add_command(report)
main.add_command(reproduce)
main.add_command(runs)
main.add_command(sample)
main.add_command(schema)
main.add_command(serve)
main.add_command(suggest)
main.add_command(tune)
main.add_command(visualize)
main.add_command(weights)
