"""The fast ways of the readers come to the same as the plain ones."""

import json
from collections import Counter
from typing import Any

import pytest
from batch_queue.core import answers, outputs, reading
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.poison import GOOD, POISON, VALUES, nested, row

pytestmark = pytest.mark.unit

SPACE = st.sampled_from(["", " ", "  ", "\t"])
KEYS = st.sampled_from(["recordId", "modelInput", "more", "record\\u0049d", "model\\u0049nput"])
PARTS = st.sampled_from(
    [
        '"a"',
        '"ä"',
        '""',
        '"a\\n"',
        '"\\ud800"',
        "1",
        "null",
        "{}",
        '{"x": 1}',
        "[]",
        '{"recordId": 1}',
        *VALUES,
    ]
)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """Objects with any of the keys of a record, in any order and as often as may be."""
    pairs = draw(st.lists(st.tuples(KEYS, SPACE, SPACE, PARTS, SPACE), max_size=4))
    inner = ",".join(f'{space}"{key}"{before}:{after}{part}' for key, before, after, part, space in pairs)
    return f"{{{inner}{draw(SPACE)}}}{draw(SPACE)}".encode()


HEADED = st.builds(
    lambda head, value, tail: b'{"recordId": "a", "modelInput": ' + head + value.encode() + tail,
    st.sampled_from([b"", b'{"x": ', b'{"x": [', b'{"x": 1}, "more": ']),
    PARTS,
    st.sampled_from([b"}", b"}}", b"]}}", b'}, "recordId": "b"}', b'}, "modelInput": {}}', b"}} ", b"}}\r"]),
)


def plainly(line: bytes) -> str | None:
    """The recordId of a line as the careful way tells it, or None where it is not a record."""
    try:
        return reading.record_id(reading.parse_line(line))
    except reading.RecordError:
        return None


@examples(400)
@given(st.one_of(GOOD, POISON, objects(), HEADED))
def test_what_is_taken_for_a_record_at_first_sight_is_one(line: bytes) -> None:
    found = reading.usual_id(line + b"\n")
    assert found is None or found.decode() == plainly(line)


@pytest.mark.parametrize("size", [0, 300, 5_000])
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
@pytest.mark.parametrize("text", ["word", "ä\u2028", '"{[', "\\"])
def test_the_records_of_any_json_writer_are_known_at_first_sight(
    text: str, separators: tuple[str, str], size: int
) -> None:
    body = {"recordId": "r-1", "modelInput": {"x": [{"y": 1.5}, text, "z" * size]}}
    for ascii_only in (True, False):
        line = json.dumps(body, separators=separators, ensure_ascii=ascii_only).encode()
        assert reading.usual_id(line + b"\n") == b"r-1"


@pytest.mark.parametrize("padding", [0, 5_000])
def test_a_record_is_nested_as_deeply_at_first_sight_as_on_a_closer_look(padding: int) -> None:
    pad = " " * padding
    deepest = row("a", pad + nested(reading.MAX_DEPTH - 2))
    assert reading.usual_id(deepest + b"\n") == b"a"
    assert reading.usual_id(row("a", pad + nested(reading.MAX_DEPTH - 1)) + b"\n") is None


@given(
    st.binary(max_size=60).map(lambda data: data.replace(b"\x01", b"\n")),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_lines_that_are_too_long_have_their_length_told_however_the_stream_is_cut(
    data: bytes, block: int, most: int
) -> None:
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    expected = [line if len(line.removesuffix(b"\n")) <= most else len(line) for line in split(data)]
    assert list(reading.ended_lines(blocks, most)) == expected


def split(data: bytes) -> list[bytes]:
    *whole, rest = data.split(b"\n")
    return [*(line + b"\n" for line in whole), *([rest] if rest else [])]


def loaded(line: bytes) -> Any:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


@examples(300)
@given(
    st.one_of(
        POISON,
        objects(),
        GOOD.map(lambda line: line.decode().encode("utf-16")),
        GOOD.map(lambda line: reading.BYTE_ORDER_MARK + line),
        GOOD.map(lambda line: b" " + line + b" \r"),
        GOOD.map(lambda line: line + line),
    )
)
def test_a_line_of_an_output_is_what_json_loads_makes_of_it(line: bytes) -> None:
    raw = line.replace(b"\n", b"")
    found = [record for _, record in outputs.output_lines([raw + b"\n"])]
    assert repr(found) == repr([loaded(raw)])
    tally = outputs.tally([raw + b"\n"], may_run_again=False)
    known = loaded(raw)
    assert len(tally.seen) == isinstance(known and known.get("recordId"), str)


COUNTS = st.sampled_from([0, 1, 7, -1, True, None, "3", 2.0, 10**15, 10**16])
WORDS = st.sampled_from(["stop", "FINISH", "", "a sentence", None, 7, "x" * 65])
PART = st.dictionaries(
    st.sampled_from(["tokenCount", "completionReason", "outputText", "finish_reason", "stop_reason"]),
    st.one_of(COUNTS, WORDS),
    max_size=4,
)
TITAN = st.fixed_dictionaries(
    {
        "inputTextTokenCount": COUNTS,
        "results": st.lists(
            st.one_of(
                st.fixed_dictionaries({"tokenCount": COUNTS, "outputText": WORDS, "completionReason": WORDS}),
                PART,
            ),
            max_size=2,
        ),
    }
)
NAMES = (
    "usage choices outputs results generations inputTokens output_tokens prompt_token_count stopReason "
    "stop_reason finish_reason completionReason inputTextTokenCount generation_token_count id"
)
ANSWER: st.SearchStrategy[Any] = st.one_of(
    TITAN,
    st.dictionaries(
        st.sampled_from(NAMES.split()),
        st.one_of(
            COUNTS,
            WORDS,
            PART,
            st.lists(st.one_of(PART, COUNTS), max_size=2),
            st.dictionaries(st.sampled_from(["inputTokens", "input_tokens", "completion_tokens"]), COUNTS),
        ),
        max_size=5,
    ),
    st.sampled_from([None, "text", 7, []]),
)


@examples(400)
@given(st.lists(ANSWER, max_size=8))
def test_answers_add_up_to_what_each_of_them_tells(found: list[Any]) -> None:
    total = answers.Answers()
    for answer in found:
        total.add(answer)
    each = [answers.tokens(answer) for answer in found]
    assert total.input_tokens == sum(used for used, _ in each)
    assert total.output_tokens == sum(used for _, used in each)
    assert total.stop_reasons == Counter(filter(None, map(answers.stop_reason, found)))


def test_a_text_of_titan_is_told_like_any_other_answer() -> None:
    part = {"tokenCount": 4, "outputText": "x", "completionReason": "FINISH"}
    total = answers.Answers()
    total.add({"inputTextTokenCount": 3, "results": [part]})
    total.add({"inputTextTokenCount": 3, "results": [part, part]})
    assert (total.input_tokens, total.output_tokens, total.stop_reasons) == (6, 12, {"FINISH": 2})
