"""Photos as small pictures inside a page: decoded as for every command, and held as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tlcli.errors import ImageError, Problem
from tlcli.images import decode
from tlcli.images.bit_depth import Depth
from tlcli.images.contents import read_contents
from tlcli.images.loader import THREADS
from tlcli.system.object_stores import may_be_file
from tlcli.system.threads import WorkerPool, result_of

#: Quality of the JPEGs: a photo of 160 px takes about 5 kB, without visible faults at that size.
QUALITY = 72


@dataclass(frozen=True)
class Thumbnail:
    """A picture of `width` x `height` pixels, as a data URI."""

    uri: str
    width: int
    height: int


def make_thumbnail(image: Image.Image, side: int) -> Thumbnail:
    """An image with its longer side at most `side` pixels, as a JPEG without any of its metadata.

    What a camera writes into a file, such as where the photo was taken, must not get into the page.
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
class PhotoThumbnails:
    """Makes thumbnails of the photos of a run until their bytes are used up.

    Attributes:
        recorded: the folder of the photos when the run was made.
        root: the folder where they are now.
        digests: hex SHA-256 of the photos, by the paths that the run records.
        bytes_left: bytes of data URIs that thumbnails may still take.
        bytes_used: bytes of those that were made.
        depth: bits that deep photos use, as in the recipe of the run.
        problems: why photos could not be shown, by recorded path.
    """

    recorded: Path
    root: Path
    digests: Mapping[str, str]
    bytes_left: int
    bytes_used: int = 0
    depth: Depth | None = None
    problems: dict[str, Problem] = field(default_factory=dict)

    def relative_name(self, path: str) -> str:
        """A recorded path as the page shows it: relative to the data folder if it lies there."""
        whole = Path(path)
        inside = whole.is_relative_to(self.recorded)
        return whole.relative_to(self.recorded).as_posix() if inside else path

    def current_path(self, path: str) -> Path:
        """Where the photo of a recorded path is now."""
        return self.root / self.relative_name(path)

    def picture(self, path: Path, side: int) -> Thumbnail | None:
        """A picture that is no photo of the run, such as a heat map; None if it cannot be shown."""
        try:
            picture = make_thumbnail(decode.decode(path), side)
        except ImageError as error:
            self.problems[str(path)] = error.problems[0]
            return None
        return picture if self._take(picture) else None

    def pictures(self, paths: Iterable[str], side: int) -> dict[str, Thumbnail]:
        """Thumbnails of photos by their recorded paths, in order, until the bytes are used up.

        A photo that is missing, unreadable or has changed since the run is left out, and `problems`
        says why.
        """
        thumbnails: dict[str, Thumbnail] = {}
        with WorkerPool(THREADS, "decode") as pool:
            waiting = list(dict.fromkeys(paths))
            while waiting and self.bytes_left > 0:
                chunk, waiting = waiting[: 4 * THREADS], waiting[4 * THREADS :]
                futures = [pool.submit(lambda path: self._picture(path, side), p) for p in chunk]
                for path, future in zip(chunk, futures, strict=True):
                    picture = result_of(future)
                    if isinstance(picture, Problem):
                        self.problems[path] = picture
                    elif self._take(picture):
                        thumbnails[path] = picture
                    else:
                        self.bytes_left = 0
        return thumbnails

    def _take(self, picture: Thumbnail) -> bool:
        """Count the bytes of a picture; False, and nothing counted, where too few are left."""
        size = len(picture.uri)
        if size > self.bytes_left:
            return False
        self.bytes_left -= size
        self.bytes_used += size
        return True

    def _picture(self, path: str, side: int) -> Thumbnail | Problem:
        place = self.current_path(path)
        if not may_be_file(place):
            return Problem(str(place), "is missing", "name the folder of the photos with --data")
        other = Problem(str(place), "is not a photo of the run, or has changed since")
        digest = self.digests.get(path)
        if digest is None:
            return other
        try:
            content = read_contents(place, digest).content
            photo = decode.decode(content, name=str(place), depth=self.depth)
            return make_thumbnail(photo, side)
        except ImageError as error:
            return other if error.problems[0].kind == "changed" else error.problems[0]
