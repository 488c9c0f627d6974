"""The page of a server in a browser: photos in, labels out, by mouse, keyboard and drop.

Screenshots stay in `.screenshots`, for a person to look at, if that folder is made before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import uvicorn
from builders.browsers import keep_picture, needs_chromium

from tlcli.serving.app import Server
from tlcli.serving.guards import Access, allowed_hosts
from tlcli.serving.limits import Limits
from tlcli.serving.metrics import ServerMetrics
from tlcli.serving.models import ModelTable
from tlcli.serving.served_model import Shared
from tlcli.serving.server import address, bind

pytestmark = needs_chromium


@contextlib.contextmanager
def served(run: Path, access: Access) -> Iterator[str]:
    """The address of a server in a thread of this process."""
    with bind("127.0.0.1", 0) as listener:
        models = ModelTable([("pets", str(run))], Shared.create(Limits(), ServerMetrics()))
        config = uvicorn.Config(
            Server(models, access).app, lifespan="on", log_config=None, log_level="error"
        )
        server = uvicorn.Server(config)
        listener.listen()
        thread = Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        yield address(listener)
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def url(trained) -> Iterator[str]:
    with served(trained[0].path, Access(hosts=allowed_hosts("127.0.0.1", []))) as place:
        yield place


@contextlib.contextmanager
def opened(browser: Any, url: str, width: int = 1400, **settings: Any) -> Iterator[Any]:
    """The page, on which nothing may go wrong, and nothing be asked of another site."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
    page = context.new_page()
    page.set_default_timeout(20_000)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text)
            if "status of 422" not in message.text else None)  # fmt: skip
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url)
            if not request.url.startswith((url, "data:", f"blob:{url}")) else None)  # fmt: skip
    page.goto(url)
    page.locator("#facts:not(:empty)").wait_for()
    yield page
    context.close()
    assert not wrong


def drop(page: Any, photos: list[Path]) -> None:
    """Drop photos somewhere on the page, as a person would from a window of files."""
    values = [[path.name, list(path.read_bytes())] for path in photos]
    transfer = page.evaluate_handle(
        """(values) => {
            const transfer = new DataTransfer();
            for (const [name, bytes] of values)
                transfer.items.add(new File([new Uint8Array(bytes)], name));
            return transfer;
        }""",
        values,
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("#drop", event, {"dataTransfer": transfer})


def answered(page: Any, number: int) -> None:
    text = f"{number} {'photo' if number == 1 else 'photos'} answered"
    # Not wait_for_function: older Playwrights evaluate text, which the page's policy forbids.
    page.locator(f"#status:text-is('{text}')").wait_for()


def labels(page: Any) -> list[str]:
    return page.locator(".card .label").all_inner_texts()


@pytest.fixture
def predicted(cli, trained, test_photos) -> list[str]:
    """The labels that `tlcli predict` prints."""
    lines = cli("predict", *test_photos, "--run", trained[0].path, "--format", "csv").stdout
    return [line.split(",")[1] for line in lines.splitlines()[1:]]


def test_dropped_photos_get_the_labels_of_predict(browser, url, test_photos, predicted, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff nothing")
    with opened(browser, url) as page:
        drop(page, [*test_photos, broken])
        answered(page, 10)
        assert labels(page) == predicted
        names = page.locator(".card .name").all_inner_texts()
        assert names == [*(path.name for path in test_photos), "broken.jpg"]
        assert "header is truncated" in page.locator(".card .error").inner_text()
        assert page.locator(".card").first.locator(".classes li").count() == 3
        page.get_by_role("button", name="Clear").click()
        assert page.locator(".card").count() == 0
        drop(page, test_photos[:1])
        answered(page, 1)


def test_the_keyboard_is_enough(browser, url, test_photos):
    with opened(browser, url) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "files"
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Space")
        chooser.value.set_files([str(path) for path in test_photos[:2]])
        answered(page, 2)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "clear"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Show where"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_it_fits_phones_and_desktops(browser, url, test_photos, scheme, width):
    with opened(browser, url, width, color_scheme=scheme) as page:
        keep_picture(page, f"serve-empty-{width}-{scheme}.png")
        drop(page, test_photos[::2])
        answered(page, 5)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        keep_picture(page, f"serve-{width}-{scheme}.png", full_page=True)


def test_it_asks_for_the_token(browser, trained, test_photos):
    with served(trained[0].path, Access(token="secret")) as url:
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        page.get_by_label("Token").fill("wrong")
        page.get_by_label("Token").press("Enter")
        page.locator("#status", has_text="token").wait_for()
        page.get_by_label("Token").fill("secret")
        page.get_by_role("button", name="Use it").click()
        page.locator("#facts:not(:empty)").wait_for()
        assert not page.locator("#access").is_visible()
        drop(page, test_photos[:1])
        answered(page, 1)
        context.close()


@pytest.mark.slow  # TensorFlow is imported by the process that makes heat maps
def test_a_heat_map_takes_the_place_of_the_photo(browser, url, test_photos):
    with opened(browser, url) as page:
        drop(page, test_photos[:1])
        answered(page, 1)
        button = page.locator(".card button")
        button.click()
        page.get_by_role("button", name="Show the photo").wait_for(timeout=60_000)
        assert page.locator(".picture img").get_attribute("alt").startswith("Heat map")
        assert page.locator(".picture img").evaluate("image => image.naturalWidth") == 640
        keep_picture(page, "serve-heat.png")
        button.click()
        assert button.inner_text() == "Show where"
        assert page.locator(".picture img").get_attribute("alt") == ""
