"""The versions of installed packages, without importing them."""

from __future__ import annotations

from importlib import metadata

#: Packages that bring the same modules under another name.
_OTHER_NAMES = {"tensorflow": ("tensorflow-cpu", "tensorflow-macos", "tensorflow-intel")}


def installed_version(package: str) -> str | None:
    """The version of a package, or of one that brings the same modules; None without any."""
    for name in (package, *_OTHER_NAMES.get(package, ())):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None
