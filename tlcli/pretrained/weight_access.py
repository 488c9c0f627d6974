"""Whether weights may be downloaded, and the user's own folder of them: one value, handed on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tlcli.errors import WeightsError
from tlcli.system import web


@dataclass(frozen=True)
class WeightsAccess:
    """Where weights may come from, besides the caches of tlcli and of Keras.

    Attributes:
        offline: whether the network must not be used.
        folder: the user's own folder of weights files, which comes before the caches.
    """

    offline: bool = False
    folder: Path | None = None

    @classmethod
    def from_options(cls, *, offline: bool = False, folder: Path | None = None) -> WeightsAccess:
        """The values of `--offline` and `--weights-dir`.

        Where an option is absent its environment variable, TLCLI_OFFLINE or TLCLI_WEIGHTS, is read.
        Raises `WeightsError` for a web address in the place of the folder.
        """
        no_network = os.environ.get("TLCLI_OFFLINE", "").strip().lower()
        named = os.environ.get("TLCLI_WEIGHTS")
        where = "--weights-dir" if folder else "TLCLI_WEIGHTS"
        folder = folder or (Path(named) if named else None)
        if folder and (address := web.as_web_address(folder)):
            raise WeightsError(web.not_a_file(address, where))
        return cls(offline or no_network not in ("", "0", "false", "no"), folder)


def offline_hint(base: str) -> str:
    """What to do where the weights of a base are missing and the network must not be used."""
    return (
        "leave out --offline and TLCLI_OFFLINE, or get a file and run "
        f"`tlcli weights import FILE --base {base}`"
    )
