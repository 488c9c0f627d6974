"""Photos on their way into a network: decoded ahead in threads, resized, augmented, in batches."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from tlcli.errors import ImageError, Problem
from tlcli.images import augment, decode
from tlcli.images.bit_depth import Depth
from tlcli.images.contents import read_contents
from tlcli.system.machine import usable_processors
from tlcli.system.threads import WorkerPool, result_of

if TYPE_CHECKING:
    from tlcli.recipe.augment import Augment
    from tlcli.recipe.recipe import Recipe

Array = npt.NDArray[Any]
Element = TypeVar("Element")

#: Batches that are decoded ahead of the one being computed, and threads that do it. Decoding frees
#: the interpreter lock; more threads than processors would take turns with the network's own.
AHEAD, THREADS = 3, min(usable_processors(), 8)


#: Photos and views in one forward pass; rows of the feature store have `networks.forward_batch`.
BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class View:
    """A photo as it is (number 0), or one of its augmented views.

    Attributes:
        file: the path of the photo as text; see `PathList`.
        digest: hex SHA-256 of the photo's bytes. Where it is left out, the photo is whatever the
            file holds when it is read; no augmented view can be drawn then.
    """

    file: str
    digest: str = ""
    number: int = 0

    def __post_init__(self) -> None:
        if self.number and not self.digest:
            raise ValueError("the numbers that draw a view come from the digest of its photo")

    @property
    def path(self) -> Path:
        """Where the photo lies."""
        return Path(self.file)

    @property
    def photo(self) -> str:
        """The identity of the photo: the digest of its bytes, or its path if that is not known."""
        return self.digest or self.file


@dataclass(frozen=True)
class PixelSettings:
    """How a photo becomes pixels; `depth` is the number of bits that deep photos use."""

    height: int
    width: int
    resize: Literal["squash", "crop", "pad"]
    augment: Augment | None = None
    depth: Depth | None = None

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> PixelSettings:
        """The settings of a recipe."""
        size, resize = recipe.base.image_size, recipe.base.resize
        return cls(*size, resize, recipe.augment, recipe.data.depth)

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> PixelSettings:
        """The settings in the card of a saved model, whose photos are not augmented."""
        height, width = card["image_size"]
        return cls(height, width, card["resize"], depth=card.get("depth"))


@dataclass(frozen=True)
class Batch:
    """Pixels of some views.

    Attributes:
        views: all that the batch was to hold, in order.
        readable: those that could be decoded, in order, each with the digest of the bytes that its
            pixels come from.
        pixels: raw RGB of the readable ones, float32, shape (n, height, width, 3), 0..255.
        errors: why the others could not be decoded, by path.
    """

    views: Sequence[View]
    readable: Sequence[View]
    pixels: Any
    errors: dict[Path, Problem]


def load_batches(
    chunks: Iterable[Sequence[View]], settings: PixelSettings
) -> Generator[Batch, None, None]:
    """The pixels of each batch of views, decoded some batches ahead.

    Memory stays at a few batches whatever the number of photos. Views of one photo that follow each
    other are decoded once, across the border of two batches too. A photo whose bytes do not have
    the digest of its view is among the errors, as a problem of the kind "changed".
    """

    def load(view: View) -> _Photo | ImageError:
        try:
            content, digest = read_contents(view.path, view.digest)
            return _Photo(digest, load_pixels(content, view.file, settings))
        except ImageError as error:
            return error

    Photos = dict[str, Future[_Photo | ImageError]]
    previous: Photos = {}
    with WorkerPool(THREADS, "decode") as pool:

        def submit(views: Sequence[View]) -> tuple[Sequence[View], Photos]:
            nonlocal previous
            photos: Photos = {}
            for view in views:
                if view.photo not in photos:
                    known = previous.get(view.photo)
                    photos[view.photo] = known or pool.submit(load, view)
            previous = photos
            return views, photos

        for views, photos in _ahead(map(submit, chunks), AHEAD):
            results = {photo: result_of(future) for photo, future in photos.items()}
            yield _batch(views, results, settings)


class _Photo(NamedTuple):
    """The digest of a photo's bytes, and the pixels that they hold."""

    digest: str
    pixels: Array


def load_pixels(content: bytes, name: str, settings: PixelSettings) -> Array:
    """The pixels of one photo, uint8 (height, width, 3), from its bytes.

    `name` is what messages call it. Raises `ImageError` with one problem.
    """
    return decode.load_image(
        content,
        height=settings.height,
        width=settings.width,
        resize=settings.resize,
        name=name,
        depth=settings.depth,
    )


def _ahead(iterable: Iterable[Element], depth: int) -> Iterator[Element]:
    """The same elements, each taken `depth` elements before it is handed on."""
    waiting: list[Element] = []
    for element in iterable:
        waiting.append(element)
        if len(waiting) > depth:
            yield waiting.pop(0)
    yield from waiting


def _batch(
    views: Sequence[View], photos: dict[str, _Photo | ImageError], settings: PixelSettings
) -> Batch:
    errors = {}
    readable, pixels = [], []
    for view in views:
        photo = photos[view.photo]
        if isinstance(photo, ImageError):
            errors[view.path] = photo.problems[0]
        else:
            readable.append(view if view.digest else replace(view, digest=photo.digest))
            pixels.append(photo.pixels)
    return Batch(views, readable, _augmented(readable, pixels, settings), errors)


def split_into_chunks(views: Iterable[View], size: int) -> Iterator[Sequence[View]]:
    """Views in the order they come, `size` at a time; no more are asked for than it takes."""
    iterator = iter(views)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _augmented(views: Sequence[View], pixels: list[Array], settings: PixelSettings) -> Any:
    if not views:
        return np.empty((0, settings.height, settings.width, 3), np.float32)
    numbers = [view.number for view in views]
    if settings.augment is None or not any(numbers):
        return np.stack(pixels).astype(np.float32)
    digests = [view.digest for view in views]
    return augment.make_views(settings.augment, np.stack(pixels), digests, numbers)
