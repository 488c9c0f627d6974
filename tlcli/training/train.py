"""How a run is trained, act by act: from a plan to a directory that predicts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tlcli.data import findings, preview
from tlcli.data.dataset import Index
from tlcli.data.split_file import keep_split
from tlcli.errors import Problem, RunError, TlcliError, reason
from tlcli.features.extraction import Elsewhere, ExtractionReport
from tlcli.features.open_store import open_store
from tlcli.networks.network import Network
from tlcli.pretrained.weights import WeightSource, describe_weights
from tlcli.recipe.recipe import Recipe
from tlcli.runs import directory, fingerprints, resume
from tlcli.runs.calibration_record import CalibrationRecord, write_calibration_record
from tlcli.runs.create import move_into_place
from tlcli.runs.directory import Run
from tlcli.runs.parent_record import FreshTraining, ParentRecord, read_parent
from tlcli.runs.records import Extraction, StageResult, StepMethods, Summary
from tlcli.runs.resume import Claim, RunRequest
from tlcli.system import console, files, signals
from tlcli.training import saving
from tlcli.training.neighbours import keep_neighbours
from tlcli.training.plan import Plan, choose_precision, without_unreadable
from tlcli.training.preparation import fill_store
from tlcli.training.replicas import Replicas, WorkerGroup, group_errors, make_replicas
from tlcli.training.shared_start import agree_on_inputs, load_start, share_start
from tlcli.training.stages import Clock, Observer, Stages
from tlcli.training.standardize import fold
from tlcli.training.step_methods import decide_methods

#: A new run under `directory.runs_root()`, or the one there that was stopped.
NEW = RunRequest()

#: Photos on a run's own sheet of views, which has to be read in a report.
SHEET_ROWS = 12


@dataclass(frozen=True)
class TrainedRun:
    """A finished run, its summary and its calibration, and the run that it started from, if any."""

    run: Run
    summary: Summary
    calibration: CalibrationRecord
    parent: ParentRecord | None = None

    def as_json(self) -> dict[str, Any]:
        """What `finetune --json` prints: the summary in short, and where the run is."""
        stages = [stage.model_dump(exclude={"test"}) for stage in self.summary.stages]
        test = self.summary.test
        return {
            "run": str(self.run.path),
            "stages": stages,
            "test": test.model_dump() if test else None,
            "temperature": self.calibration.temperature,
            **({"parent": self.parent.model_dump()} if self.parent else {}),
        }

    def text(self) -> str:
        """The summary as people read it."""
        seconds, test = self.summary.seconds, self.summary.test
        acts = ", ".join(f"{act} {console.duration(s)}" for act, s in seconds.items())
        lines = [f"time: {console.duration(sum(seconds.values()))} ({acts})"]
        if test is not None:
            share = f"{test.right:,} of {test.n:,} photos"
            lines.insert(0, f"test accuracy {test.accuracy:.4f} ({share})")
        else:
            lines.insert(0, self._without_test())
        if self.parent is not None and self.parent.fresh is not None:
            lines.append(self._saved_time(self.parent.fresh))
        lines += [self._calibration(), f"run: {self.run.path}"]
        return "\n".join(lines)

    def _without_test(self) -> str:
        """The score where there are no test photos, and what it is worth."""
        last, val = self.summary.stages[-1], self.calibration.val
        if last.val_accuracy is None or val is None:
            return "accuracy unknown: there were neither test nor validation photos"
        return (
            f"validation accuracy {last.val_accuracy:.4f} ({console.counted(val.n, 'photo')}): "
            "optimistic, since the best epoch was chosen on them; there are no test photos"
        )

    def _saved_time(self, fresh: FreshTraining) -> str:
        """What training took beside that of the run which began with the base."""
        share = sum(self.summary.seconds.values()) / max(fresh.seconds, 1e-9)
        photos = console.counted(fresh.photos, "training photo")
        line = f"{share:.2f} of the time of {fresh.run}, which took "
        line += f"{console.duration(fresh.seconds)} from the base on, for {photos}"
        if fresh.stored:
            line += f", with {console.counted(fresh.stored, 'row')} in the store before"
        return console.one_line(line)

    def _calibration(self) -> str:
        record = self.calibration
        if record.temperature is None or record.val is None:
            return "probabilities: not calibrated, there were no validation photos"
        photos = console.counted(record.val.n, "validation photo")
        return f"probabilities: calibrated on {photos}, temperature {record.temperature:.3f}"


def train(
    plan: Plan, request: RunRequest = NEW, *, latest: bool = True, repeats: Run | None = None,
    trial: Observer | None = None, group: WorkerGroup | None = None,
    elsewhere: Elsewhere | None = None,
) -> TrainedRun:  # fmt: skip
    """Carry out a plan: load, extract, train stage after stage, test, calibrate, save, check.

    The features come first and stay in the store, and every epoch leaves a checkpoint, so that the
    same request resumes a run that ended early. With `latest`, `directory.LATEST` points to the run
    from now on. `repeats` is a run that is done again. `trial` watches the epochs of a trial, which
    is not scored on the test photos. With `group` this is worker 0 of several, and the others
    `train_beside` it; `elsewhere` computes features from photos. Raises a `TlcliError` for photos,
    weights, disks and numbers that do not allow a good end, and `Interrupted` after a signal.
    """
    replicas = make_replicas(plan.recipe.devices, group)
    plan = choose_precision(plan)
    with (
        signals.defer(), group_errors(group),
        resume.claim(request, plan.recipe, plan.index) as claimed,
    ):  # fmt: skip
        clock, run = Clock(), claimed.run
        plan = _announce(plan, claimed)
        share_start(group, run, plan.recipe, resumed=claimed.resumed)
        keep_split(plan.recipe.data.split.file, plan.index.divided_lines())
        with clock("load"):
            network = load_start(plan, replicas)
        cuts = [cut.name for cut in plan.cuts]
        with open_store(network, plan.recipe, plan.cache, cuts) as opened:
            checksum = opened.checksums[plan.row.top.name]
            methods = _record(network, plan, run, checksum, replicas, repeats=repeats)
            with clock("extract"):
                report = fill_store(network, plan.recipe, plan.index, opened, elsewhere)
            plan = _readable(plan, report, claimed)
            agree_on_inputs(group, plan.index, checksum)
            stages = Stages(
                network, plan, opened.all_rows, run, clock, report, trial, replicas, methods
            )
            if claimed.resumed:
                stages.load_checkpoint()
            results = stages.run()
            with clock("calibrate"):
                calibration = stages.fit_calibration(network := fold(network, plan.recipe))
            with clock("save"):
                _save(network, plan, run, calibration, (cuts[0], opened.checksums[cuts[0]]))
            with clock("neighbours"):
                keep_neighbours(network, plan, opened.all_rows, run)
        summary = _summary(results, stages.extraction, clock.seconds)
        files.write_json(run.file(directory.SUMMARY), summary.model_dump())
        signals.raise_if_interrupted()
        final = move_into_place(run)
        if latest:
            _mark_latest(final)
        _draw_views(plan.recipe, plan.index, final)
        # From here on the run is finished; the same request makes another one.
        if run.replaces is None:
            stages.close()
        else:
            resume.remove_run(run)
        signals.ignore_from_now_on()
    return TrainedRun(final, summary, calibration, read_parent(final))


def _save(
    network: Network, plan: Plan, run: Run, calibration: CalibrationRecord, frozen: tuple[str, str]
) -> None:
    """Write calibration and model, and read the model back; `frozen` as `saving.check_saved`."""
    write_calibration_record(run, calibration)
    classes, temperature = plan.index.classes, calibration.temperature
    saving.save_model(network, plan.recipe, classes, run, temperature)
    saving.check_saved(network, plan.recipe, plan.index, run, frozen)


def _summary(
    stages: tuple[StageResult, ...], extraction: ExtractionReport, seconds: dict[str, float]
) -> Summary:
    """The record of the run; its score is that of the network after the last stage."""
    return Summary(
        stages=stages,
        test=stages[-1].test,
        extraction=Extraction.model_validate(extraction.as_dict()),
        seconds={act: round(value, 2) for act, value in seconds.items()},
    )


def _announce(plan: Plan, claimed: Claim) -> Plan:
    """Say which run it is; returns the plan, in the precision that a resumed run began with."""
    run, again = claimed.run, ", which was stopped" if claimed.resumed else ""
    console.note(console.one_line(f"run: {run.replaces or run.path}{again}"))
    if not claimed.resumed:
        return plan
    recipe = fingerprints.in_precision_of(run, plan.recipe)
    if recipe.precision == plan.recipe.precision:
        return plan
    console.note(f"precision: {recipe.precision}, in which the run began")
    return replace(plan, recipe=recipe, precision_why="the run began in it")


def _record(
    network: Network,
    plan: Plan,
    run: Run,
    checksum: str,
    replicas: Replicas,
    *,
    repeats: Run | None,
) -> StepMethods:
    """Record what the numbers of a run depend on; returns how its steps are computed.

    The weights must be those of a run that it repeats.
    """
    if repeats is not None:
        begun = repeats.record().get("weights") or {}
        _check_weights(plan.source, checksum, begun.get("checksum"))
    weights = describe_weights(network.base, plan.row, plan.source)
    methods = decide_methods(network, plan, run, replicas, repeats)
    saving.record_circumstances(
        run,
        {**weights, "checksum": checksum},
        deterministic=plan.recipe.deterministic,
        precision_why=plan.precision_why,
        methods=methods,
    )
    audit = findings.audit_record(plan.index, plan.problems)
    files.write_json(run.file(directory.AUDIT), audit)
    return methods


def _check_weights(source: WeightSource, checksum: str, expected: str | None) -> None:
    """Raise `RunError` where the weights are not those that the run is known to have had."""
    if expected is not None and checksum != expected:
        message = (
            f"the weights have the checksum {checksum[:16]}; the run began with {expected[:16]}"
        )
        hint = "bring back those it began with; --weights-file says where they are"
        raise RunError(Problem(str(source), message, hint))


def _mark_latest(run: Run) -> None:
    """Make it the run that commands use where none is named; a failure is only a warning."""
    try:
        directory.mark_latest(run)
    except OSError as error:
        pointer = directory.runs_root() / directory.LATEST
        message = f"cannot be pointed at this run: {reason(error)}"
        hint = f"name this run with --run {run.path}"
        console.warn(str(Problem(str(pointer), message, hint)))


def _draw_views(recipe: Recipe, index: Index, run: Run) -> None:
    """Draw the views that the network was trained on; a failure, or a signal, is only a warning."""
    augment = recipe.augment
    if augment.changes_pixels and (augment.views == "live" or augment.kept_views):
        try:
            preview.write_sheet(recipe, index, run.file(directory.VIEWS_SHEET), most=SHEET_ROWS)
        except (TlcliError, OSError) as error:
            console.warn(f"no sheet of views: {reason(error)}")
        except signals.Interrupted:  # too late to stop the run
            console.warn("no sheet of views: stopped")


def _readable(plan: Plan, report: ExtractionReport, claimed: Claim) -> Plan:
    """The plan of the photos that could be read, which are the same after a stop as before."""
    reduced = without_unreadable(plan, report.unreadable)
    if claimed.resumed:
        fingerprints.check_same_photos(claimed.run, reduced.index)
        fingerprints.update_paths(claimed.run, plan.recipe, reduced.index)
    elif reduced is not plan:
        fingerprints.record_readable_photos(claimed.run, reduced.index)
    return reduced
