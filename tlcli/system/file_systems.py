"""Which file systems other machines write to as well: folders on them are shared over a network."""

from __future__ import annotations

import re
from pathlib import Path

from tlcli.system.machine import ROOT

#: Types of file systems that several machines mount, as Linux names them.
NETWORK = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "virtiofs",
    "wekafs",
})  # fmt: skip

#: Types whose programs run on this machine and write to a disk of it.
_LOCAL_FUSE = frozenset({"fuseblk", "fuse.portal", "fuse.gvfsd-fuse", "fuse.fuse-overlayfs"})


def network_type(path: Path, root: Path = ROOT) -> str | None:
    """The type of the network file system that `path` is on, such as 'nfs4'; None on another one.

    Any file system that a program of a user serves (FUSE) counts, since nobody can tell what is
    behind it. Where the system does not list its file systems as Linux does, the answer is None.
    """
    kind = _type_of(path.absolute(), root)
    is_fuse = kind.startswith("fuse") and kind not in _LOCAL_FUSE
    return kind if kind in NETWORK or is_fuse else None


def _type_of(path: Path, root: Path) -> str:
    """The type of the file system that is mounted nearest above `path`, the last of several."""
    try:
        path = path.resolve()
        listed = (root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    depth, kind = -1, ""
    for line in listed.splitlines():
        before, _, after = line.partition(" - ")
        if len(fields := before.split(" ")) < 5 or not after:
            continue
        # Spaces and other special characters of the path are octal numbers.
        mounted = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4]))
        if path.is_relative_to(mounted) and len(mounted.parts) >= depth:
            depth, kind = len(mounted.parts), after.split(" ")[0]
    return kind
