"""Files in object stores, such as `s3://bucket/photos/cat.jpg`, read through fsspec.

A `Path` stands for them as for any other file. It makes one slash of two, so that here `s3:/bucket`
is the store as well; what lies on the disk under such a name is a file. What is written into a file
has both slashes by `written`, and what is said by `errors.with_both_slashes`.

Only what is asked for is read: an object is fetched whole, with one request, and nothing is kept.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tlcli.errors import Problem, TlcliError, reason
from tlcli.system.web import as_web_address

#: Addresses that are no object stores: web pages, and files by another name.
_OTHERS = ("http", "https", "ftp", "ftps", "file", "data")

_INSTALL = "install what reads it with pip install 'tlcli[remote]'"

Result = TypeVar("Result")


class StoredObject(NamedTuple):
    """What a folder of an object store holds, by its name in the folder."""

    name: str
    is_folder: bool


def store_address(path: str | Path) -> str | None:
    """The address of an object or a folder in an object store; None for any other path."""
    address = as_web_address(path)
    if address is None or address.partition("://")[0].lower() in _OTHERS:
        return None
    return address


def written(path: Path) -> str:
    """A path as files of tlcli hold it and messages show it: an address has both of its slashes."""
    return store_address(path) or str(path)


def may_be_file(path: Path) -> bool:
    """Whether there is a file on the disk, or may be an object: no store is asked."""
    return store_address(path) is not None or path.is_file()


def as_path(address: str) -> Path:
    """The path that stands for an address; raises `ValueError` where a path would change it."""
    path = Path(address)
    if store_address(path) != address.rstrip("/"):
        raise ValueError("has //, . or .. in its name, which no path can hold")
    return path


def read_object(address: str) -> bytes:
    """All bytes of an object. Raises `OSError`, and `TlcliError` where fsspec is missing."""
    content: bytes = _call(address, lambda system, place: system.cat_file(place))
    return content


def is_folder(address: str) -> bool:
    """Whether there is anything below an address. Raises as `read_object`."""
    return bool(_call(address, lambda system, place: system.isdir(place)))


def exists(address: str) -> bool:
    """Whether there is an object, or anything below it. Raises as `read_object`."""
    return bool(_call(address, lambda system, place: system.exists(place)))


def list_folder(address: str) -> list[StoredObject]:
    """What lies directly below an address, sorted by name. Raises as `read_object`."""
    return _call(address, _list_below)


def _list_below(system: Any, place: str) -> list[StoredObject]:
    return sorted(
        StoredObject(entry["name"].strip("/").rpartition("/")[2], entry["type"] == "directory")
        for entry in system.ls(place, detail=True)
        # Some stores keep an empty object for a folder, under the folder's own name.
        if entry["name"].strip("/") != place.strip("/")
    )


def _call(address: str, work: Callable[[Any, str], Result]) -> Result:
    """Have the file system of an address do some work with the place that the address means."""
    _require_fsspec(address)
    import fsspec

    try:
        system, place = fsspec.core.url_to_fs(address)
        return work(system, place)
    except ImportError as error:
        raise TlcliError(Problem(address, reason(error), _INSTALL)) from error
    except OSError:
        raise
    except Exception as error:  # each store has errors of its own, such as missing credentials
        raise OSError(f"{type(error).__name__}: {reason(error)}") from error


def _require_fsspec(address: str) -> None:
    if importlib.util.find_spec("fsspec") is None:
        raise TlcliError(Problem(address, "is in an object store", _INSTALL))
