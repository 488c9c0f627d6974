"""The first signal ends a wait for photos, wherever threads read them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np
import pytest
from builders.interrupts import MODES, interrupt, interrupted
from builders.slow_files import blocking

from tlcli.data.audit_cache import FILE, AuditCache
from tlcli.features.store import TrunkRows
from tlcli.features.store_index import INDEX
from tlcli.features.trunk_address import TrunkAddress

WAITS = {
    "hash": """
from tlcli.data.hashing import hash_files
hash_files(paths)
""",
    "check": """
from tlcli.data import audit
from tlcli.images import decode
audit.check_photos(paths, decode.sniff)
""",
    "decode": """
from tlcli.images.loader import PixelSettings, View, load_batches
list(load_batches([[View(str(path)) for path in paths]], PixelSettings(32, 32, "squash")))
""",
    "thumbnails": """
from tlcli.report.thumbnails import PhotoThumbnails
names = [str(path) for path in paths]
digests = dict.fromkeys(names, "0" * 64)
PhotoThumbnails(Path("/"), Path("/"), digests, 10**6).pictures(names, 50)
""",
}


@pytest.mark.parametrize(
    ("wait", "mode"),
    [
        pytest.param(
            wait, mode, marks=pytest.mark.slow if mode == "deferred" and wait != "hash" else ()
        )
        for wait in WAITS
        for mode in MODES
    ],
)
def test_a_photo_that_cannot_be_opened(photos: Path, wait: str, mode: str):
    paths = sorted(photos.rglob("*.png"))
    with blocking(paths[3]):
        lines = "paths = [Path(name) for name in sys.argv[2:]]\n" + WAITS[wait].strip()
        interrupted(mode, lines, *paths)


@pytest.mark.parametrize("command", ["check", "preview"])
def test_commands_that_read_photos(config: Path, photos: Path, command: str):
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    script = f"{begin}; from tlcli.cli import main; print('ready', flush=True); main()"
    with blocking(sorted(photos.rglob("*.png"))[3]):
        process = subprocess.Popen(
            [sys.executable, "-c", script, command, "--config", str(config)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert interrupt(process).splitlines()[-1] == "error: interrupted"
        finally:
            process.kill()
            process.communicate()


BUSY = """
from tlcli.data.audit_cache import AuditCache
from tlcli.data.hashing import hash_files
paths = [Path(name) for name in sys.argv[3:]]
with AuditCache(Path(sys.argv[2])) as cache:
    hash_files(paths, cache)
"""


@pytest.mark.parametrize("blocked", [False, True])
def test_a_database_that_another_process_keeps(photos: Path, tmp_path: Path, blocked: bool):
    """While what is known is stored: after the last photo, or after the signal."""
    paths = sorted(photos.rglob("*.png"))
    with AuditCache(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with blocking(paths[3]) if blocked else nullcontext():
            interrupted("plain", BUSY, tmp_path, *paths)


STORE = """
from tlcli.features.store import TrunkRows
from tlcli.features.trunk_address import TrunkAddress
import numpy as np
rows = TrunkRows(Path(sys.argv[2]), TrunkAddress({"base": "b", "boundary": "t"}, (2,), "float32"))
rows.append([("aa" * 32, "0")], np.zeros((1, 2)))
"""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_an_index_of_the_store_that_another_process_keeps(tmp_path: Path, lock: str, mode: str):
    """While rows are committed, or while the index is opened; and afterwards both work."""
    address = TrunkAddress({"base": "b", "boundary": "t"}, (2,), "float32")
    keys, values = [("bb" * 32, "0")], np.ones((1, 2), np.float32)
    with closing(TrunkRows(tmp_path, address)) as rows:
        index = rows.path / INDEX
        with closing(sqlite3.connect(index, isolation_level=None)) as other:
            other.execute(lock)
            interrupted(mode, STORE, tmp_path)
        rows.append(keys, values)
        np.testing.assert_array_equal(rows.read(rows.locate(keys), [0]), values)


WHOLE_AUDIT = """
import numpy as np
from tlcli.data import near_duplicates
rng = np.random.default_rng(0)
kinds = rng.integers(0, 256, (50, 16, 16), np.uint8)
thumbnails = kinds[rng.integers(0, 50, 60_000)] ^ rng.integers(0, 2, (60_000, 16, 16), np.uint8)
prepared = near_duplicates.PreparedThumbnails(thumbnails)
others = near_duplicates.PreparedThumbnails(255 - thumbnails[::-1])
while True:
    near_duplicates.find_pairs(prepared, others)
"""


def test_a_long_search_for_near_duplicates():
    interrupted("plain", WHOLE_AUDIT, rests=False)
