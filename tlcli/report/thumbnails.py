"""Photos as small pictures inside a page: decoded by the one pixel path, kept as data URIs."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tlcli.errors import ImageError, Problem, reason
from tlcli.images import decode
from tlcli.images.loader import THREADS

#: Of the JPEGs: at this quality a 160 px photo takes about 5 kB, and no fault is seen at its size.
QUALITY = 72


@dataclass(frozen=True)
class Thumbnail:
    """A picture of `width` x `height` pixels, as a data URI."""

    uri: str
    width: int
    height: int


def shrink(image: Image.Image, side: int) -> Thumbnail:
    """An image with its longer side at most `side` pixels, as a JPEG without any of its metadata.

    What a camera wrote into the file, such as the place where it stood, stays out of the page.
    """
    scale = min(1.0, side / max(image.size))
    width, height = (max(1, round(length * scale)) for length in image.size)
    bare = Image.new("RGB", (width, height))
    bare.paste(image.resize((width, height), Image.Resampling.LANCZOS))
    stream = io.BytesIO()
    bare.save(stream, "JPEG", quality=QUALITY, optimize=True, progressive=False)
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    return Thumbnail(f"data:image/jpeg;base64,{text}", width, height)


@dataclass
class Album:
    """The photos of a run, and how much room their pictures may take.

    Attributes:
        recorded: the folder of the photos when the run was made.
        root: the folder where they are now.
        digests: hex SHA-256 of the photos, by the paths that the run records.
        room: bytes of data URIs that may still be handed out.
        used: bytes of those that were.
        problems: why photos could not be shown, by recorded path.
    """

    recorded: Path
    root: Path
    digests: Mapping[str, str]
    room: int
    used: int = 0
    problems: dict[str, Problem] = field(default_factory=dict)

    def name(self, path: str) -> str:
        """A recorded path as the page shows it: relative to the data folder if it lies there."""
        whole = Path(path)
        inside = whole.is_relative_to(self.recorded)
        return whole.relative_to(self.recorded).as_posix() if inside else path

    def place(self, path: str) -> Path:
        """Where the photo of a recorded path is now."""
        return self.root / self.name(path)

    def picture(self, place: Path, side: int) -> Thumbnail | None:
        """A picture that is no photo of the run, such as a heat map; None if it cannot be shown."""
        try:
            picture = shrink(decode.decode(place), side)
        except ImageError as error:
            self.problems[str(place)] = error.problems[0]
            return None
        return picture if self._take(picture) else None

    def pictures(self, paths: Iterable[str], side: int) -> dict[str, Thumbnail]:
        """Thumbnails of photos by their recorded paths, in order, for as long as there is room.

        A photo that is missing, unreadable or no longer the one that the run saw is left out and
        told in `problems`.
        """
        made: dict[str, Thumbnail] = {}
        with ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="decode") as pool:
            waiting = list(dict.fromkeys(paths))
            while waiting and self.room > 0:
                some, waiting = waiting[: 4 * THREADS], waiting[4 * THREADS :]
                done = pool.map(lambda path: self._picture(path, side), some)
                for path, picture in zip(some, done, strict=True):
                    if isinstance(picture, Problem):
                        self.problems[path] = picture
                    elif self._take(picture):
                        made[path] = picture
                    else:
                        self.room = 0
        return made

    def _take(self, picture: Thumbnail) -> bool:
        """Take up room for a picture, if there is enough."""
        size = len(picture.uri)
        if size > self.room:
            return False
        self.room -= size
        self.used += size
        return True

    def _picture(self, path: str, side: int) -> Thumbnail | Problem:
        place = self.place(path)
        try:
            if not place.is_file():  # reading a pipe would wait for ever
                return Problem(
                    str(place), "is missing", "name the folder of the photos with --data"
                )
            content = place.read_bytes()
        except (OSError, ValueError) as error:
            return Problem(str(place), reason(error))
        if self.digests.get(path) != hashlib.sha256(content).hexdigest():
            return Problem(str(place), "is not a photo of the run, or has changed since")
        try:
            return shrink(decode.decode(content, name=str(place)), side)
        except ImageError as error:
            return error.problems[0]
