"""Why a request is not answered: a status, and one sentence as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from tlcli.errors import Problem

#: The status for each kind of damage of a photo; 422 for all others.
_STATUS_OF_KIND = {"no image": 415, "unsupported": 415, "too large": 413, "no memory": 503}


class Refusal(Exception):
    """A request that is refused.

    Args:
        status: of HTTP.
        message: one sentence: what is wrong, and what is allowed.
        headers: of the response.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


def busy(message: str, seconds: float) -> Refusal:
    """The refusal of a server that has too much to do now, and when to come back."""
    return Refusal(503, message, {"Retry-After": str(max(1, round(seconds)))})


def photo_status(problem: Problem) -> int:
    """The status for a photo that cannot be read."""
    return _STATUS_OF_KIND.get(problem.kind, 422)


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A value as JSON, in the words of `tlcli predict --format jsonl`."""
    content = json.dumps(value, allow_nan=False) + "\n"
    return Response(content, status, headers, media_type="application/json")


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """A refusal as JSON: {"error": "..."}, the shape that TensorFlow Serving has."""
    return json_response({"error": message}, status, headers)
