"""Measure the tensors of every base and write `tlcli/pretrained/tensors.json`.

    python scripts/tensors.py

For each base, in the order of its layers, one row for each layer with weights:
`[layer, place, shapes, names]`. `place` is where Keras 3 keeps the layer in a `.weights.h5` file,
below `layers/`: the class in snake case with a number, and for a layer inside a Sequential the path
through it. `shapes` and `names` are those of its variables in order. Nothing is taken from Keras'
naming rules: every variable is filled with its own number, the model saved, and the file searched
for it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tlcli.networks.bases import BASES

TABLE = Path(__file__).parents[1] / "tlcli/pretrained/tensors.json"


def measure(name: str) -> list[list[Any]]:
    """The rows of one base."""
    row = BASES[name]
    model = row.build_plain((row.native_size, row.native_size))
    model.set_weights([np.full(v.shape, n) for n, v in enumerate(model.weights)])
    places = {}
    with tempfile.TemporaryDirectory() as folder:
        model.save_weights(path := Path(folder) / "numbered.weights.h5")
        with h5py.File(path) as file:

            def look(place: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset):
                    places[round(float(np.ravel(item[()])[0]))] = place

            file.visititems(look)
    rows: list[list[Any]] = []
    number = 0
    for layer in model.layers:
        for variable in layer.weights:
            place, _, position = places[number].rpartition("/vars/")
            place = place.removeprefix("layers/")
            if position == "0":
                rows.append([layer.name, place, [], []])
            assert rows[-1][:2] == [layer.name, place], (name, layer.name, place)
            assert len(rows[-1][2]) == int(position), (name, place)
            rows[-1][2].append(list(variable.shape))
            rows[-1][3].append(variable.name)
            number += 1
    assert sum(int(np.prod(s)) for row in rows for s in row[2]) == BASES[name].parameters
    return rows


def main() -> None:
    """Measure all bases; one row a line, so that a change can be read."""
    tables = []
    for name in BASES:
        rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in measure(name))
        tables.append(f'"{name}": [\n{rows}\n]')
        print(name, flush=True)
    TABLE.write_text("{\n" + ",\n".join(tables) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
