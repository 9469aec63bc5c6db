"""Results: joined with the input, and the texts in the models' answers."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bedrock_batch import InputError, results
from hypothesis import given
from hypothesis import strategies as st

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


def stream(rows: list[dict[str, Any]], block: int = 7) -> list[bytes]:
    body = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    return [body[at : at + block] for at in range(0, len(body), block)]


@given(st.lists(IDS, unique=True, max_size=20), st.randoms())
def test_every_record_is_joined_once_in_the_order_of_the_input(identifiers: list[str], random: Any) -> None:
    rows = [{"recordId": one, "modelInput": {"n": number}} for number, one in enumerate(identifiers)]
    answered = [row for row in rows if random.random() < 0.8]
    result = [{**row, "modelOutput": {"echo": row["recordId"]}} for row in answered]
    random.shuffle(result)
    found = list(results.joined(stream(rows), stream(result)))
    assert [(one["recordId"], one["modelInput"]) for one in found] == [
        (row["recordId"], row["modelInput"]) for row in rows
    ]
    for one in found:
        known = {row["recordId"] for row in answered}
        if one["recordId"] in known:
            assert one["modelOutput"] == {"echo": one["recordId"]}
        else:
            assert one["error"]["errorCode"] == results.NO_ANSWER


def test_a_file_with_a_byte_order_mark_and_blank_lines_is_joined() -> None:
    upload = [b'\xef\xbb\xbf{"recordId": "a", "modelInput": {}}\r\n\r\n{"recordId": "b", "modelInput": {}}']
    result = stream([{"recordId": "b", "modelOutput": 1}, {"recordId": "a", "error": {"errorCode": 400}}])
    found = list(results.joined(upload, result))
    assert found[0] == {"recordId": "a", "modelInput": {}, "error": {"errorCode": 400}}
    assert found[1] == {"recordId": "b", "modelInput": {}, "modelOutput": 1}


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ({"output": {"message": {"role": "assistant", "content": [{"text": "a"}, {"text": "b"}]}}}, "a\nb"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "tool_use", "input": {"x": 1}}]}, "a"),
        ({"choices": [{"message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}]}, "a"),
        ({"results": [{"outputText": "a", "tokenCount": 1}], "inputTextTokenCount": 1}, "a"),
        ({"generation": "a", "prompt_token_count": 1}, "a"),
        ({"outputs": [{"text": "a", "stop_reason": "stop"}]}, "a"),
        ({"generations": [{"text": "a"}]}, "a"),
        ({"embedding": [0.1, 0.2]}, ""),
        ({}, ""),
        (None, ""),
        ("text", ""),
        ([1, None], ""),
    ],
)
def test_the_text_of_an_answer_is_found(output: Any, text: str) -> None:
    assert results.text_of(output) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.lists(st.tuples(IDS, JSON), max_size=5))
def test_a_table_has_what_the_records_have(found: list[tuple[str, Any]]) -> None:
    rows = [{"recordId": one, "modelInput": {"x": output}, "modelOutput": output} for one, output in found]
    file = io.StringIO(newline="")
    assert results.write_csv(rows, file) == len(rows)
    read = list(csv.DictReader(io.StringIO(file.getvalue(), newline="")))
    assert [row["record_id"] for row in read] == [one for one, _ in found]
    for row, (_, output) in zip(read, found, strict=True):
        assert json.loads(row["model_input"]) == {"x": output}
        if output is not None:
            assert json.loads(row["model_output"]) == output


def test_a_disk_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made = results._Answers.__init__

    def small(self: results._Answers, folder: Path) -> None:
        made(self, folder)
        self._places.execute("PRAGMA max_page_count = 1")

    monkeypatch.setattr(results._Answers, "__init__", small)
    rows = [{"recordId": f"{number:0999}", "modelInput": {}} for number in range(99)]
    with pytest.raises(InputError, match=r"full\. TMPDIR names another folder"):
        list(results.joined(stream(rows), stream(rows)))


def test_large_records_are_written_to_parquet_in_small_groups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(results, "_MOST_CHARACTERS", 1_000)
    rows = [{"recordId": str(n), "modelInput": {}, "modelOutput": {"x": "y" * 400}} for n in range(10)]
    assert results.write_parquet(rows, tmp_path / "a.parquet") == 10
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert [file.metadata.row_group(at).num_rows for at in range(4)] == [3, 3, 3, 1]
