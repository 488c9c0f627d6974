"""Pages: escaping by construction, and numbers that do not flatter."""

from __future__ import annotations

import jinja2
import pytest

from tlcli.report import html


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.97019, "97.0%"), (1, "100.0%"), (0, "0.0%"), (0.99999, "99.9%"), (0.00001, "0.1%"),
     (None, "–")],
)  # fmt: skip
def test_shares_round_neither_to_all_nor_to_none(value, text):
    assert html.percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.013, "+1.3"), (-0.2, "−20.0"), (0.0, "0.0"), (-0.0001, "0.0")]
)
def test_points(value, text):
    assert html.percentage_points(value) == text


def test_names_are_one_visible_line():
    assert html.visible_name("a\nb\x00\u202ec") == "a\\nb\\x00\\u202ec"
    long = html.visible_name("x" * 300 + "y" * 300)
    assert len(long) == 403 and long.startswith("xx") and long.endswith("yy") and " … " in long
    assert html.visible_name("x" * 400) == "x" * 400


@pytest.fixture
def templates(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    sources: dict[str, str] = {}
    monkeypatch.setattr(jinja2, "PackageLoader", lambda package: jinja2.DictLoader(sources))
    return sources


def rendered(templates: dict[str, str], source: str, **values: object) -> str:
    templates["page.html"] = source
    return html.render_page("page.html", values, styles=("report.css",), scripts=("report.js",))


def test_values_are_escaped_wherever_they_stand(templates):
    evil = "\"'><script>alert(1)</script>&\x1b\ud800"
    source = "{% macro m(x) %}<i t=\"{{ x }}\">{{ x }}</i>{% endmacro %}<b t='{{ v }}'>{{ m(v) }}"
    escaped = "&#34;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;\\x1b\\ud800"
    assert rendered(templates, source, v=evil) == (
        f"<b t='{escaped}'><i t=\"{escaped}\">{escaped}</i>"
    )
    rendered(templates, "{{ v }}", v=evil).encode()  # lone surrogates could not be written


def test_a_value_that_is_forgotten_is_an_error(templates):
    with pytest.raises(jinja2.UndefinedError, match="'missing' is undefined"):
        rendered(templates, "{{ missing }}")


def test_style_and_script_cannot_end_early(templates):
    page = rendered(templates, "{{ style }}{{ script }}")
    assert "</" not in page
    assert "default-src 'none'" in rendered(templates, "{{ policy|safe }}")
