"""CSV and JSON out and in: what is exported says the same when it is imported."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.inventory import table
from appliance.inventory.entries import Entry, Note
from appliance.inventory.errors import EntryInvalid
from appliance.inventory.table import FORMULA, ImportRow, neutralise, parse_rows, restore


@given(st.text())
def test_a_neutralised_cell_is_no_formula_and_comes_back(text: str) -> None:
    assert not neutralise(text).startswith(FORMULA)
    assert restore(neutralise(text)) == text


def rows(content: bytes, format: str = "csv") -> list[ImportRow]:
    return list(parse_rows(content, format=format))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"serial,site\r\nS1,North\r\n", id="commas"),
        pytest.param(b"serial;site\nS1;North\n", id="semicolons"),
        pytest.param(b"Serial\tSite\nS1\tNorth\n", id="tabs"),
        pytest.param(b"\xef\xbb\xbfserial,site\r\nS1,North\r\n\r\n,\r\n", id="a BOM and empty lines"),
        pytest.param(b'serial,other,site\n"S1",x,"North"\n', id="quotes and a column that is not read"),
    ],
)
def test_the_files_that_spreadsheets_write_are_read(content: bytes) -> None:
    (row,) = rows(content)

    assert (row.serial, dict(row.place), row.line, row.trouble) == ("S1", {"site": "North"}, 2, "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"\xff\xfe", "not UTF-8", id="bytes"),
        pytest.param(b"", "first line", id="empty"),
        pytest.param(b"a,b\n1,2\n", "first line", id="no known column"),
        pytest.param(b"serial,model\nS1,x\n", "first line", id="nothing to set"),
        pytest.param(b"serial,serial,site\n", "twice", id="a column twice"),
        pytest.param(b"serial,site" + b",x" * 80 + b"\n", "column", id="many columns"),
        pytest.param(b'serial,site\nS1,"No', "not CSV", id="an open quote"),
        pytest.param(b"serial,site\nS1,a\0b\n" + b'"x"y,z\n', "not CSV", id="text after a quote"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_as_a_whole(content: bytes, words: str) -> None:
    with pytest.raises(EntryInvalid, match=words):
        rows(content)


def test_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_BYTES", 100)
    monkeypatch.setattr(table, "MAX_ROWS", 2)

    with pytest.raises(EntryInvalid, match="over 100 bytes"):
        rows(b"serial,site\n" + b"x" * 100)
    with pytest.raises(EntryInvalid, match="over 2 rows"):
        rows(b"serial,site\n" + b"a,b\n" * 3)


def test_bad_rows_carry_their_line_and_the_reason() -> None:
    found = rows(b"serial,site\nS1\nS2," + b"x" * 5000 + b"\n")

    assert [(row.line, bool(row.trouble)) for row in found] == [(2, True), (3, True)]


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"entry":{}}', b"[" * 5000, b'{"entry":{"id":"x"}}'])
def test_a_json_line_that_is_no_machine_is_a_bad_row(line: bytes) -> None:
    (row,) = rows(line + b"\n", "json")

    assert (row.line, row.trouble.startswith("it is not an exported machine")) == (1, True)


def test_every_cell_of_an_export_is_neutral() -> None:
    line = table.render_csv_row(
        Entry(id=1, state="heard", name="=1+1", serial="@x", labels={"+a": "b"}),
        [Note(time="t", author="a", text="-2\n3")],
    )
    (cells,) = csv.reader(io.StringIO(line, newline=""))

    assert not any(cell.startswith(FORMULA) for cell in cells)
    assert "'-2\n3" in cells
