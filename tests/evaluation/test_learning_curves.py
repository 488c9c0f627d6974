"""How training went, as pictures and as event files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tlcli.errors import RunError, TlcliError
from tlcli.evaluation import chart_data, figures, learning_curves
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.metrics import append_metrics
from tlcli.system import files


def line(stage: str, epoch: int, *, val: bool = True, rate: float = 1e-3) -> dict[str, object]:
    return {
        "stage": stage, "epoch": epoch, "loss": 1 / epoch, "accuracy": 1 - 0.5 / epoch,
        "val_loss": 1.5 / epoch if val else None, "val_accuracy": 1 - 0.6 / epoch if val else None,
        "learning_rate": rate, "seconds": 2.0,
    }  # fmt: skip


def fabricate(name: str = "cats-1", *, val: bool = True, stages=("head", "$fine_{고양이}")) -> Run:
    run = Run(directory.runs_root() / name)
    run.path.mkdir(parents=True)
    files.write_json(run.file(directory.RECORD), {"created": "2030-01-02T03:04:05+00:00"})
    for stage, count in zip(stages, (4, 3), strict=False):
        for epoch in range(1, count + 1):
            append_metrics(run, line(stage, epoch, val=val))
    outcomes = [{"best_epoch": 3}, {"best_epoch": 2}]
    files.write_json(run.file(directory.SUMMARY), {"stages": outcomes[: len(stages)]})
    run.file(directory.MODEL).touch()
    return run


def test_stages_of_the_same_name_are_distinguished(tmp_path: Path):
    run = fabricate(stages=("head", "head"))
    first, second = chart_data.split_stages(learning_curves.read_epochs(run))
    assert [epoch.epoch for epoch in first] == [1, 2, 3, 4]
    assert [epoch.epoch for epoch in second] == [1, 2, 3]
    assert [best.epoch for best in learning_curves.read_curves(run).loss.best] == [3, 2]


def test_the_picture_shows_every_epoch(monkeypatch):
    run = fabricate()
    drawn: list[Any] = []
    monkeypatch.setattr(chart_data, "SMOOTHED_FROM", 4)  # the first stage, not the second
    real = figures.save_figure
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: (drawn.append(figure),
                                                               real(figure, path)))  # fmt: skip
    paths = learning_curves.draw_curves(run)
    assert [path.name for path in paths] == ["curves.png", "curves.svg"]
    assert all(path.parent == run.path and path.stat().st_size > 5000 for path in paths)
    accuracy, loss, rate = drawn[0].axes
    stages = chart_data.split_stages(learning_curves.read_epochs(run))
    raw = [tuple(line.get_ydata()) for line in accuracy.lines]
    marked = [
        (line.get_xdata(), line.get_ydata()) for line in loss.lines if line.get_marker() == "o"
    ]
    for stage in stages:
        for key in ("accuracy", "val_accuracy"):
            values = [getattr(epoch, key) for epoch in stage]
            assert tuple(values) in raw
            smooth = tuple(chart_data.moving_average(values))
            assert (smooth in raw) == (len(values) >= 4)
    assert [list(x) for x, _ in marked] == [[3], [4 + 2]]
    assert [list(y) for _, y in marked] == [[0.5], [0.75]]
    borders = [line for line in accuracy.lines if line.get_linestyle() == "--"]
    assert [set(border.get_xdata()) for border in borders] == [{4.5}]
    assert [text.get_text() for text in accuracy.texts if "0." not in text.get_text()] == [
        "head", "$fine_{고양이}"
    ]  # fmt: skip
    (legend,) = drawn[0].legends
    assert "in stages of 4 epochs and more" in legend.get_title().get_text()
    assert f"factor {chart_data.SMOOTHING:g}" in legend.get_title().get_text()
    assert [text.get_text() for text in legend.get_texts()] == [
        "training", "validation", "best epoch of a stage"
    ]  # fmt: skip
    assert list(rate.lines[0].get_ydata()) == [1e-3] * 4


@pytest.mark.parametrize("best", [2, 20])
def test_the_value_of_the_best_epoch_stands_inside_the_axes(monkeypatch, best: int):
    """A loss that falls ends at the foot of its axes, in the last epoch at their right end."""
    run = fabricate(stages=())
    for epoch in range(1, 21):
        append_metrics(run, line("head", epoch))
    files.write_json(run.file(directory.SUMMARY), {"stages": [{"best_epoch": best}]})
    drawn: list[Any] = []
    real = figures.save_figure
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: (drawn.append(figure),
                                                               real(figure, path)))  # fmt: skip
    learning_curves.draw_curves(run)
    for axes in drawn[0].axes[:2]:
        (value,) = [text for text in axes.texts if text.get_text().startswith("0.")]
        box, inside = value.get_window_extent(), axes.bbox
        assert inside.x0 <= box.x0 and box.x1 <= inside.x1
        assert inside.y0 <= box.y0 and box.y1 <= inside.y1


def test_a_run_without_validation(tmp_path: Path):
    paths = learning_curves.draw_curves(fabricate(val=False), tmp_path / "deep" / "er")
    assert paths[0] == tmp_path / "deep" / "er" / "curves.png"
    assert paths[0].stat().st_size > 5000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "RUN/metrics.jsonl: has no epoch"),
        ("{", "RUN/metrics.jsonl: cannot be read: line 1 is not JSON: Expecting"),
        ('{"stage": "a"}\n', "RUN/metrics.jsonl:1: epoch: Field required; make it again"),
        ("[]\n", "RUN/metrics.jsonl:1: Input should be a valid dictionary"),
        (None, "RUN: has no metrics.jsonl"),
    ],
)
def test_damage_is_named(text: str | None, message: str):
    run = fabricate()
    run.file(directory.METRICS).unlink()
    if text is not None:
        run.file(directory.METRICS).write_text(text)
    with pytest.raises(RunError) as caught:
        learning_curves.read_curves(run)
    assert str(caught.value).replace(str(run.path), "RUN").startswith(message)


def test_the_command(cli):
    run = fabricate()
    done = cli("curves", "--run", run.path)
    assert done.stdout.splitlines() == [f"{run.path}/curves.png", f"{run.path}/curves.svg"]
    value = json.loads(cli("curves", "--run", run.path, "--json").stdout)
    assert value == {"written": done.stdout.splitlines()}


def test_event_files_are_read_back(tmp_path: Path, cli):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fabricate()
    done = cli("curves", "--run", run.path, "--tensorboard", tmp_path / "logs")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"{tmp_path}/logs/cats-1\n"
    read = EventAccumulator(str(tmp_path / "logs" / "cats-1"))
    read.Reload()
    epochs = learning_curves.read_epochs(run)
    for tag, key in (("accuracy/training", "accuracy"), ("loss/validation", "val_loss"),
                     ("learning_rate", "learning_rate")):  # fmt: skip
        events = [read.Tensors(tag)] if tag in read.Tags()["tensors"] else [read.Scalars(tag)]
        assert [event.step for event in events[0]] == list(range(1, 8))
        values = [
            getattr(event, "value", None) or event.tensor_proto.float_val[0] for event in events[0]
        ]
        assert values == pytest.approx([getattr(epoch, key) for epoch in epochs])
        times = [event.wall_time for event in events[0]]
        assert times == pytest.approx([times[0] + 2 * step for step in range(7)])
    again = cli("curves", "--run", run.path, "--tensorboard", tmp_path / "logs")
    assert again.exit_code == 1
    assert "has event files already; name another folder, or delete them" in again.stderr


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(TlcliError) as caught:
        learning_curves.write_events(fabricate(), tmp_path)
    assert str(caught.value) == (
        "--tensorboard: the package tensorboard is not installed; "
        "install it with `pip install tensorboard`"
    )
