"""The addresses of a server, and what each answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from tlcli.errors import suggestion
from tlcli.serving import tensorflow_api
from tlcli.serving.guards import Access, CountedRoute, Guards, until_disconnected
from tlcli.serving.heat_maps import HeatMaps, HeatRequest, can_explain
from tlcli.serving.limits import Limits
from tlcli.serving.metrics import CONTENT_TYPE, Gauge
from tlcli.serving.models import ModelTable, model_as_json, no_version
from tlcli.serving.page import render_page
from tlcli.serving.refusals import (
    Refusal,
    busy,
    error_response,
    json_response,
    photo_status,
)
from tlcli.serving.served_model import ServedModel, Upload
from tlcli.serving.uploads import ByteBudget, is_form, name_photo, read_body, read_form
from tlcli.system.threads import WorkerPool

Result = TypeVar("Result")
_Handler = Callable[[Request], Awaitable[Response]]

#: Heat maps that may wait for the one that is being made.
_HEAT_QUEUE = 4


class _NameConvertor(Convertor[str]):
    """The name of a model in an address: it ends before the colon of an action."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("model", _NameConvertor())


class Server:
    """The models of a server behind its addresses.

    Args:
        models: closed with the application.
        access: who may ask.
        connections: how many are open now.
    """

    def __init__(
        self, models: ModelTable, access: Access, connections: Callable[[], int] = lambda: 0
    ) -> None:
        self.models = models
        self.limits: Limits = models.shared.limits
        self.metrics = models.shared.metrics
        self._budget = ByteBudget(self.limits.held)
        self._parsers = WorkerPool(1, "parse")
        self._drawers, self._heat_maps = WorkerPool(1, "heat"), HeatMaps()
        self._drawing = 0
        self._page, self._policy = render_page()
        self.metrics.gauges += _gauges(models, connections)
        self.app = Guards(self._routes(), access, self.limits, self.metrics, connections)

    def _routes(self) -> Starlette:
        model = "/v1/models/{name:model}"
        version = model + "/versions/{version}"
        get = [
            ("/", self._show_page), ("/health", self._health), ("/metrics", self._text_of_metrics),
            ("/v1/models", self._list), (model, self._status), (version, self._status),
            (model + "/metadata", self._metadata), (version + "/metadata", self._metadata),
        ]  # fmt: skip
        post = [
            (model + ":predict", self._predict), (version + ":predict", self._predict),
            (model + ":explain", self._explain),
        ]  # fmt: skip
        routes = [CountedRoute(path, handler, methods=["POST"]) for path, handler in post]
        routes += [CountedRoute(path, handler, methods=["GET"]) for path, handler in get]
        handlers: dict[Any, Any] = {
            Refusal: _refused, HTTPException: _http_error, ClientDisconnect: _left, 500: _bug,
        }  # fmt: skip
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(self.models.watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            self.close()

    def close(self) -> None:
        """End all threads and processes."""
        self.models.close()
        self._parsers.close()
        self._drawers.close()
        self._heat_maps.close()

    async def _show_page(self, request: Request) -> Response:
        return HTMLResponse(self._page, headers={"Content-Security-Policy": self._policy})

    async def _health(self, request: Request) -> Response:
        return json_response({"status": "ok", "models": list(self.models.slots)})

    async def _text_of_metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    async def _list(self, request: Request) -> Response:
        models = [model_as_json(slot) for slot in self.models.slots.values()]
        return json_response({"models": models, "explain": can_explain()})

    def _model(self, request: Request) -> ServedModel:
        """The model that an address names; raises `Refusal` for another version."""
        model = self.models.find(request.path_params["name"])
        version = request.path_params.get("version")
        if version is not None and version != str(model.version):
            raise no_version(model, version)
        return model

    async def _status(self, request: Request) -> Response:
        return json_response(tensorflow_api.status_as_json(self._model(request)))

    async def _metadata(self, request: Request) -> Response:
        return json_response(tensorflow_api.metadata_as_json(self._model(request)))

    async def _predict(self, request: Request) -> Response:
        top = _top(request)
        self._model(request)  # an unknown one is refused before its photos are read
        with self._budget.request() as taken:
            body = await read_body(request, self.limits, taken)
            with self._model(request).in_use() as model:
                return await self._within(request, self._answer(request, model, body, top))

    async def _answer(
        self, request: Request, model: ServedModel, body: bytes, top: int
    ) -> Response:
        most = self.limits.files
        if is_form(request):
            content_type = request.headers["content-type"]
            photos = await self._parse(lambda: read_form(content_type, body, most))
            predictions = await model.predict(photos, top)
            return json_response({"predictions": [each.as_dict() for each in predictions]})
        if tensorflow_api.is_json(body):
            settings = model.predictor.pixel_settings
            size = (settings.height, settings.width)
            asked = await self._parse(lambda: tensorflow_api.read_request(body, size, most))
            return await _answer_as_tensorflow(model, asked)
        photo = Upload(name_photo(request), body)
        (answer,) = await model.answer([photo])
        prediction = model.predict_from(photo, answer, top)
        status = 200 if isinstance(answer, tuple) else photo_status(answer)
        return json_response(prediction.as_dict(), status)

    async def _parse(self, work: Callable[[], Result]) -> Result:
        """What a parser returns, which may take long for a body that was made for that."""
        return await asyncio.wrap_future(self._parsers.submit(_call, work))

    async def _explain(self, request: Request) -> Response:
        model = self._model(request)
        if not can_explain():
            raise Refusal(404, "there are no heat maps: TensorFlow is not installed here")
        if self._drawing > _HEAT_QUEUE:
            raise busy("too many heat maps are asked for at once", 5)
        label = _class(request, model)
        with self._budget.request() as taken:
            body = await read_body(request, self.limits, taken)
            stamp = model.path.stat().st_mtime_ns if model.path.exists() else 0
            asked = HeatRequest(model.path, stamp, name_photo(request), body, label)
            await model.check(Upload(asked.name, body))
            self._drawing += 1
            try:
                future = self._drawers.submit(self._heat_maps.draw, asked)
                png = await asyncio.wrap_future(future)
            finally:
                self._drawing -= 1
        return Response(png, media_type="image/png")

    async def _within(self, request: Request, answer: Awaitable[Response]) -> Response:
        """An answer, unless it takes too long or its client leaves; then the work is dropped."""
        working = asyncio.ensure_future(answer)
        leaving = asyncio.ensure_future(until_disconnected(request))
        try:
            done, _ = await asyncio.wait(
                (working, leaving), timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if working in done:
                return working.result()
            if leaving in done:
                raise ClientDisconnect
            raise busy(f"no answer within {self.limits.seconds:g} s", 1)
        finally:
            for task in (working, leaving):
                task.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)


async def _answer_as_tensorflow(
    model: ServedModel, asked: tensorflow_api.TensorFlowRequest
) -> Response:
    """The probabilities of all classes for each photo; one that cannot be read refuses them all."""
    rows = []
    for photo, answer in zip(asked.photos, await model.answer(asked.photos), strict=True):
        if not isinstance(answer, tuple):
            raise Refusal(photo_status(answer), f"{photo.name}: {answer.message}")
        rows.append(model.predictor.calibration.apply(answer.logits[None])[0].tolist())
    return json_response({asked.key: rows})


def _call(work: Callable[[], Result]) -> Result:
    return work()


def _parameters(request: Request, *allowed: str) -> dict[str, str]:
    """The parameters of an address; raises `Refusal` for one that is not allowed."""
    for name in request.query_params:
        if name not in allowed:
            raise Refusal(400, f"unknown parameter '{name[:40]}'; there is '{allowed[0]}'")
    return dict(request.query_params)


def _top(request: Request) -> int:
    """How many classes are asked for; 1 by default."""
    text = _parameters(request, "top").get("top", "1")
    if not text.isascii() or not text.isdecimal() or int(text[:9]) == 0:
        raise Refusal(400, f"top='{text[:40]}' is not a number of classes")
    return int(text[:9])


def _class(request: Request, model: ServedModel) -> str | None:
    """The class whose heat is asked for; None for the likeliest."""
    label = _parameters(request, "class").get("class")
    if label is not None and label not in model.predictor.classes:
        hint = suggestion(label, model.predictor.classes)
        raise Refusal(400, f"'{label[:80]}' is not a class of '{model.name}'; {hint}")
    return label


def _gauges(models: ModelTable, connections: Callable[[], int]) -> list[Gauge]:
    return [
        Gauge("tlcli_waiting_photos", "Photos that are waiting or in work.", ("model",),
              lambda: [((model.name,), model.pending) for model in models]),
        Gauge("tlcli_model_info", "The models that answer.",
              ("model", "version", "run", "engine"),
              lambda: [((model.name, str(model.version), model.path.parent.name,
                         model.predictor.engine.name), 1) for model in models]),
        Gauge("tlcli_connections", "Open connections.", (), lambda: [((), connections())]),
    ]  # fmt: skip


async def _refused(request: Request, refusal: Refusal) -> Response:
    return error_response(refusal.status, refusal.message, refusal.headers)


async def _http_error(request: Request, error: HTTPException) -> Response:
    path = request.url.path[:80]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        message = f"{request.method[:20]} is not for '{path}'; it takes {allowed}"
    elif error.status_code == 404:
        message = f"nothing is at '{path}'; see /v1/models"
    else:
        message = error.detail
    return error_response(error.status_code, message, error.headers)


async def _left(request: Request, error: ClientDisconnect) -> Response:
    return error_response(400, "the client has left")  # which reads it no more


async def _bug(request: Request, error: Exception) -> Response:
    return error_response(500, "a fault of the server, which its log shows")
