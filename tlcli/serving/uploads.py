"""Photos out of the body of a request: its bytes, or the files of a form."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from tlcli.serving.limits import Limits
from tlcli.serving.refusals import Refusal, busy
from tlcli.serving.served_model import Upload

#: What a photo without a name is called.
UNNAMED = "photo"

#: Fields of a form that are no files, and bytes of the head of a part.
_FIELDS, _HEAD = 64, 16_000


class ByteBudget:
    """The bytes of requests that lie in memory, all clients together."""

    def __init__(self, most: int) -> None:
        self._most, self.taken = most, 0

    @contextmanager
    def request(self) -> Iterator[_Taken]:
        """What one request takes; it is given back at the end of the block."""
        taken = _Taken(self)
        try:
            yield taken
        finally:
            self.taken -= taken.bytes

    def take(self, number: int) -> None:
        """Count bytes; raises `Refusal` where there are too many."""
        if self.taken + number > self._most:
            raise busy("too many photos are on their way at once", 1)
        self.taken += number


class _Taken:
    def __init__(self, budget: ByteBudget) -> None:
        self._budget, self.bytes = budget, 0

    def take(self, number: int) -> None:
        """Count bytes of this request."""
        self._budget.take(number)
        self.bytes += number


async def read_body(request: Request, limits: Limits, taken: _Taken) -> bytes:
    """The body of a request.

    Raises `Refusal` for one that is empty, too large, too slow, or compressed.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "the body is compressed (Content-Encoding); send it as it is")
    too_large = Refusal(413, f"the body has more than {limits.body:,} bytes, the limit here")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.body:
        raise too_large
    chunks: list[bytes] = []
    total = 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                total += len(chunk)
                if total > limits.body:
                    raise too_large
                taken.take(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        message = f"the body did not arrive within {limits.seconds:g} s"
        raise Refusal(408, message, {"Connection": "close"}) from None
    if not total:
        raise Refusal(400, "the body is empty; send the bytes of a photo")
    return b"".join(chunks)


def is_form(request: Request) -> bool:
    """Whether the body is a form with files."""
    media_type = request.headers.get("content-type", "").partition(";")[0]
    return media_type.strip().lower() == "multipart/form-data"


def name_photo(request: Request) -> str:
    """What the photo of a raw body is called: the file name in Content-Disposition, if any."""
    _, options = parse_options_header(request.headers.get("content-disposition"))
    return _decoded(options.get(b"filename", b""))


def read_form(content_type: str, body: bytes, most: int) -> list[Upload]:
    """The files of a form, in order; fields that are no files are left out.

    Raises `Refusal` for a form that is malformed, or has no files or more than `most`.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise Refusal(400, "the form has no boundary in its Content-Type")
    files = _FormFiles(most)
    try:
        parser = MultipartParser(boundary, files.callbacks())  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise Refusal(400, "the form is malformed") from None
    if not files.ended:
        raise Refusal(400, "the form ends early")
    if not files.photos:
        raise Refusal(400, "the form has no file; send photos as files, as in curl -F photo=@a.jpg")
    return files.photos


class _FormFiles:
    """Collects the files of a form while it is parsed."""

    def __init__(self, most: int) -> None:
        self.photos: list[Upload] = []
        self.ended = False
        self._most, self._fields = most, 0
        self._headers: dict[bytes, bytes] = {}
        self._key, self._head = b"", bytearray()
        self._content: bytearray | None = None
        self._name = UNNAMED

    def callbacks(self) -> dict[str, object]:
        """For python_multipart."""
        names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished",
                 "part_data", "part_end", "end")  # fmt: skip
        return {f"on_{name}": getattr(self, f"_{name}") for name in names}

    def _part_begin(self) -> None:
        self._headers, self._content, self._name = {}, None, UNNAMED
        self._head = bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._key += data[start:end].lower()

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._head += data[start:end]
        if len(self._head) > _HEAD:
            raise Refusal(400, "the head of a part of the form is too long")

    def _header_end(self) -> None:
        self._headers[self._key] = bytes(self._head)
        self._key, self._head = b"", bytearray()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if b"filename" in options:
            self._content = bytearray()
            self._name = _decoded(options[b"filename"])
            if len(self.photos) == self._most:
                raise Refusal(413, f"the form has more than {self._most} files, the limit here")
        else:
            self._fields += 1
            if self._fields > _FIELDS:
                raise Refusal(400, f"the form has more than {_FIELDS} fields that are no files")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._content is not None:
            self._content += data[start:end]

    def _part_end(self) -> None:
        if self._content is not None:
            self.photos.append(Upload(self._name, bytes(self._content)))

    def _end(self) -> None:
        self.ended = True


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "replace") or UNNAMED
