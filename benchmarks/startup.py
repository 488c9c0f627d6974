"""How long commands take to start: the help of each, and those that answer at once.

    python benchmarks/startup.py [--rounds 9]

Beside them Python itself, the import of Click, and the import of Keras and TensorFlow with and
without the optional packages that tlcli keeps from being imported.
"""

from __future__ import annotations

import sys

from harness import Bench, Measured, child, parser, scratch, spread, tlcli

from tlcli.cli import main as group

ALONE = {
    "python": "pass",
    "import click": "import click",
    "import keras, tensorflow": "import keras, tensorflow",
    "import tlcli.networks.framework": "import tlcli.networks.framework",
}


def main() -> None:
    """Measure and write the table."""
    arguments = parser(__doc__, rounds=9).parse_args()
    bench = Bench.open("startup", {}, arguments)
    words = [["--help"], *([name, "--help"] for name in sorted(group.commands))]
    words += [["bases"], ["runs"], ["schema"], ["cache"]]
    with scratch() as folder:
        kept = {"TLCLI_CACHE": str(folder), "TLCLI_RUNS": str(folder / "runs")}

        def command(line: list[str]) -> Measured:
            return {"s": tlcli(*line, **kept).seconds}

        def python(code: str) -> Measured:
            return {"s": child([sys.executable, "-c", code], KERAS_BACKEND="tensorflow").seconds}

        sides = {name: lambda code=code: python(code) for name, code in ALONE.items()}
        sides |= {f"tlcli {' '.join(line)}": lambda line=line: command(line) for line in words}
        bench.run(sides, arguments.rounds)
    rows = [[side, spread(bench.values(side, "s"))] for side in sides]
    bench.report("Start-up", ["", "seconds"], rows)


if __name__ == "__main__":
    main()
