"""Which folders other machines share, by what Linux lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli.system.file_systems import network_type

LISTED = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / /net/home rw,relatime shared:7 - nfs4 server:/home rw,vers=4.2
31 30 8:2 / /net/home/local rw - xfs /dev/sdb1 rw
32 22 0:41 / /mnt/my\\040photos rw master:1 propagate_from:2 - fuse.sshfs me@host: rw
33 22 0:42 / /mnt/stick rw - fuseblk /dev/sdc1 rw
34 22 0:43 / /scratch rw - lustre 10.0.0.1@tcp:/fs rw
35 22 0:44 / /scratch rw - tmpfs none rw
a line of another kind
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me", None),
        ("/net/home/me/cache", "nfs4"),
        ("/net/homework", None),
        ("/net/home/local/cache", None),
        ("/mnt/my photos/x", "fuse.sshfs"),
        ("/mnt/stick", None),
        ("/scratch", None),  # what was mounted over it counts
    ],
)
def test_the_nearest_mount_decides(tmp_path: Path, folder: str, kind: str | None):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(LISTED, encoding="utf-8")
    assert network_type(Path(folder), tmp_path) == kind


def test_a_system_that_lists_nothing(tmp_path: Path):
    assert network_type(Path("/net/home"), tmp_path) is None


def test_the_temporary_folder_of_this_machine_is_its_own(tmp_path: Path):
    assert network_type(tmp_path) in (None, "9p")
