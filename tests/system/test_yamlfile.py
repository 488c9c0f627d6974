"""YAML as people read it, with lines and bounds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tlcli.errors import RecipeError
from tlcli.system.yamlfile import (
    Document,
    KeyPath,
    dump_yaml,
    format_key,
    parse_key,
    parse_value,
    parse_yaml,
    quote_scalar,
    read_yaml,
)


def refusal(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_yaml(text, Path("folder/r.yaml"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("1.0e-3", 1e-3), ("1E5", 1e5), (".5", 0.5), ("3.", 3.0), ("-2.5", -2.5),
        ("3", 3), ("-3", -3), ("0", 0), ("1_000", 1000), ("010", "010"), ("1:30", "1:30"),
        ("0x1f", "0x1f"), ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("2024-01-01", "2024-01-01"), (".inf", ".inf"), (".nan", ".nan"), ("1.2.3", "1.2.3"),
        ("'3'", "3"), ("[256, 1e2]", [256, 100.0]), ("{name: sgd}", {"name": "sgd"}),
        ("e5", "e5"), ("1e", "1e"), ("=", "="),
    ],
)  # fmt: skip
def test_values(text: str, value: object):
    read = parse_value(text)
    assert read == value
    assert type(read) is type(value)


def test_keys_are_words():
    assert parse_value("{1: a, no: b, 2024-01-01: c, null: d}") == {
        "1": "a",
        "no": "b",
        "2024-01-01": "c",
        "null": "d",
    }


def test_lines():
    document = parse_yaml(
        "a: 1\nb:\n  c:\n    - x: 1\n\n    - {y: 2,\n       z: 3}\n", Path("d/r.yaml")
    )
    assert document.where(("a",)) == "r.yaml:1: a"
    assert document.where(("b", "c")) == "r.yaml:3: b.c"
    assert document.where(("b", "c", 0)) == "r.yaml:4: b.c[0]"
    assert document.where(("b", "c", 1, "z")) == "r.yaml:7: b.c[1].z"
    # Of what is missing, the line of what would hold it.
    assert document.where(("b", "missing", 3)) == "r.yaml:2: b.missing[3]"
    assert document.where(("missing",)) == "r.yaml:1: missing"
    assert document.where(()) == "r.yaml:1"
    assert Document(Path("r.yaml"), None).where(("a",)) == "r.yaml:1: a"


def test_overrides_are_named_instead_of_lines():
    document = parse_yaml("a: {b: 1, c: 2}\n", Path("r.yaml")).overridden({("a", "b"): "a.b=3"})
    assert document.where(("a", "b")) == "--set a.b=3"
    assert document.where(("a", "b", "c")) == "--set a.b=3"
    assert document.where(("a",)) == "--set a.b=3"
    assert document.where(("a", "c")) == "r.yaml:1: a.c"
    assert document.where(()) == "r.yaml:1"
    assert document.has_key(("a", "c"))
    assert document.has_key(("a", "b"))
    assert not document.has_key(("a", "d"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a:\n  b: [",
            "r.yaml:2: not valid YAML: while parsing a flow node expected the node content, but "
            "found '<stream end>'",
        ),
        (
            "a: 1\n\tb: 2",
            "r.yaml:2: not valid YAML: while scanning for the next token found character '\\t' "
            "that cannot start any token",
        ),
        (
            "a\0",
            "r.yaml: not valid YAML: unacceptable character #x0000: special characters are not "
            'allowed in "<unicode string>", position 1',
        ),
        ("a: *x", "r.yaml:1: not valid YAML: found undefined alias 'x'"),
        ("a: 1\nb: 2\na: 3", "r.yaml:3: the key 'a' is given twice"),
        ("x: {a: 1, a: 2}", "r.yaml:1: the key 'a' is given twice"),
        ("? [a]\n: b", "r.yaml:1: a key must be a word"),
        ("a: 1\n---\na: 2", "r.yaml:2: not valid YAML: expected a single document in the stream "
         "but found another document"),
        ("a: " + "9" * 5_000, f"r.yaml:1: {'9' * 57}... is too large a number; quote it if it is "
         "text"),
        ("a: 9223372036854775808", "r.yaml:1: 9223372036854775808 is too large a number; quote it "
         "if it is text"),
        ("? " + "k" * 1_025 + "\n: b", "r.yaml:1: a key has more than 1,024 characters"),
    ],
)  # fmt: skip
def test_what_is_not_yaml(text: str, message: str):
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("text", "line", "tag"),
    [
        ("seed: !!int 0x" + "f" * 5_000, 1, "!!int"), ("a: !!int 0b1", 1, "!!int"),
        ("a: !!int 1" + ":1" * 5_000, 1, "!!int"), ("\na: !!bool maybe", 2, "!!bool"),
        ("a: !!str 3", 1, "!!str"), ("a: ! 3", 1, "!"), ("a: !x 3", 1, "!x"),
        ("a: !!set {b}", 1, "!!set"), ("a: !!omap [b: 1]", 1, "!!omap"), ("!!map {}", 1, "!!map"),
        ("!!str a: 1", 1, "!!str"), ("a: !!binary aaaa", 1, "!!binary"),
        ("a: !!python/name:os.system x", 1, "!!python/name:os.system"),
        ("a: !<tag:yaml.org,2002:int> 3", 1, "!!int"),
        ("%TAG !e! tag:e.com,2000:\n---\na: !e!x 3", 3, "tag:e.com,2000:x"),
    ],
    ids=[str(number) for number in range(15)],
)  # fmt: skip
def test_tags_are_refused(text: str, line: int, tag: str):
    assert refusal(text) == (
        f"r.yaml:{line}: has a tag, '{tag}'; leave it out; what looks like a number is one, and "
        "text may be quoted"
    )


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]\n"
    for below, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "r.yaml:1: more than 10,000 values or 32 levels"),
        ("a: &a [*a]", "r.yaml:1: more than 10,000 values or 32 levels"),
        ("\na: " + "[" * 40 + "]" * 40, "r.yaml:2: more than 10,000 values or 32 levels"),
        ("[" * 50_000, "r.yaml:1: more than 10,000 values or 32 levels"),
        ("a: [" + "1, " * 10_000 + "]", "r.yaml:1: more than 10,000 values or 32 levels"),
        (
            "a: &a " + "x" * 60_000 + "\nb: [" + "*a, " * 9_000 + "]",
            "r.yaml:1: more than 1,000,000 characters of text once its aliases are expanded",
        ),
        ("- 1\n" * 200_000, "r.yaml:20000: more than 10,000 values or 32 levels"),
    ],
    ids=["aliases", "a circle", "deep", "very deep", "long", "long text", "very long"],
)
def test_bombs_are_refused_quickly(text: str, message: str):
    started = time.process_time()
    assert refusal(text) == message
    assert time.process_time() - started < 5


def test_files_that_are_no_text(tmp_path: Path):
    def refusal_of(content: bytes) -> str:
        path = tmp_path / "r.yaml"
        path.write_bytes(content)
        with pytest.raises(RecipeError) as caught:
            read_yaml(path)
        return str(caught.value).replace(str(tmp_path), "HERE")

    assert refusal_of(b"a: 1\nb: caf\xe9\n") == "r.yaml:2: not UTF-8 text"
    assert refusal_of(b"\x89PNG\r\n\x1a\n") == "r.yaml:1: not UTF-8 text"
    assert refusal_of(b"#" * 1_000_001) == "HERE/r.yaml: larger than 1 MB; this is not a recipe"


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(RecipeError) as caught:
        read_yaml(tmp_path / "missing.yaml")
    assert str(caught.value) == (
        f"{tmp_path / 'missing.yaml'}: no such file; `tlcli init DIR` writes a starter recipe"
    )
    with pytest.raises(RecipeError) as folder:
        read_yaml(tmp_path)
    assert str(folder.value) == f"{tmp_path}: cannot be read: is a directory"


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path):
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    assert read_yaml(path).value == {"a": 1, "b": "x"}


@pytest.mark.parametrize(
    ("key", "spelled"),
    [
        (("seed",), "seed"),
        (("stages", 1, "epochs"), "stages[1].epochs"),
        (("head", "hidden", 0), "head.hidden[0]"),
        ((), ""),
    ],
)
def test_keys_are_spelled_and_parsed(key: KeyPath, spelled: str):
    assert format_key(key) == spelled
    if key:
        assert parse_key(spelled) == key
        assert parse_key(".".join(map(str, key))) == key


def test_odd_keys():
    assert parse_key("stages.-1.epochs") == ("stages", "-1", "epochs")
    assert parse_key("stages.²") == ("stages", "²")
    assert parse_key("a." + "9" * 5_000) == ("a", "9" * 5_000)


TEXTS = ["photos", "no", "1e5", "1e-5", "010", "3", "1:30", "a: b", "# x", "'", '"', "Ünï 猫",
         "two\nlines", "", " a ", "-", "~", "2024-01-01", "\x1b[31m", "x" * 300, "a\u2028b",
         "a\x85b", "\x85", "a\n\x85 \ud800", "\ufeff\xad\xa0",
         "true", "{a}", "!x", "&x", "*x", "%", "@", "`"]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_quoted_text_reads_back(text: str):
    assert parse_yaml(f"a:\n  b: {quote_scalar(text)}\nc: 1\n", Path("r")).value == {
        "a": {"b": text},
        "c": 1,
    }


def test_dumped_values_read_back():
    value = {"a": [1, 2.5, 1e-5, 1e22, True, None], "texts": TEXTS, "b": {"c": {}}}
    assert parse_yaml(dump_yaml(value), Path("r")).value == value
