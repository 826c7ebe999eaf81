"""Sheets for people: a terminal never cuts them, and as LaTeX they compile whatever they hold."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.analysis.latex import escaped, latex
from sweeper.analysis.sheet import Field, Sheet, fields, last_line, value_text
from sweeper.cli.sheet_table import listing
from sweeper.cli.tables import front_table
from sweeper.measurements import Goal, Objective
from sweeper.results.query import front_sheet
from tests.cli.test_tables import a_front, shown, words_of

HOSTILE = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"]) | st.sampled_from("\\{}[]$&#^_~%*-`'\",?!<>|±\n"),
    max_size=12,
)
FIELDS = st.integers(1, 5).flatmap(
    lambda rows: st.lists(
        st.builds(
            Field,
            HOSTILE,
            st.lists(
                HOSTILE | st.sampled_from(["1,234.5", "0.25 ±0.01", "-1", "1e-05"]), min_size=rows, max_size=rows
            ).map(tuple),
            HOSTILE,
            st.none() | st.sampled_from(Goal),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    ).map(tuple)
)
SHEETS = st.builds(Sheet, HOSTILE, FIELDS, st.lists(HOSTILE, max_size=2).map(tuple), HOSTILE)

#: LaTeX for a letter -> the letter.
SAID = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    "{''}": '"',
    "{[}": "[",
    "{]}": "]",
    "{*}": "*",
    r"$\pm$": "±",
    r"$\cdot$": "·",
    r"$\times$": "×",
    r"$\uparrow$": "↑",
    r"$\downarrow$": "↓",
    "{}": "",
    **{f"\\{letter}": letter for letter in "&%$#_{}"},
}
_SAID = re.compile("|".join(map(re.escape, sorted(SAID, key=len, reverse=True))))


def read(text):
    """Return the text behind an escaped text."""
    return _SAID.sub(lambda found: SAID[found[0]], text)


def is_balanced(text):
    """Return whether braces that group are paired, and formulas closed."""
    text = re.sub(r"\\[\\{}$&%#_]", "", text)
    depth = 0
    for letter in text:
        depth += (letter == "{") - (letter == "}")
        if depth < 0:
            return False
    return depth == 0 and text.count("$") % 2 == 0


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_escaped_text_says_what_the_text_says(text):
    assert read(escaped(text)) == " ".join(text.split())


@given(HOSTILE)
def test_escaped_text_has_no_command_and_no_sign_that_latex_would_not_know(text):
    left = _SAID.sub("", escaped(text))
    assert not set(left) & set('\\{}$&#^_~%[]*<>|"')
    assert all(" " <= letter <= "~" or "À" <= letter <= "ÿ" for letter in left)
    assert not re.search(r"--|``|''|,,|[?!]`", escaped(text).replace("{''}", ""))


@given(st.lists(SHEETS, min_size=1, max_size=3))
def test_latex_of_any_sheets_is_balanced_and_every_row_has_all_columns(sheets):
    text = latex(sheets).decode()
    assert is_balanced(text)
    begun = re.findall(r"\\begin\{(\w+)\}", text)
    assert sorted(begun) == sorted(re.findall(r"\\end\{(\w+)\}", text))
    tables = text.split("\\begin{table}")[1:]
    assert len(tables) == len(sheets)
    for sheet, table in zip(sheets, tables, strict=True):
        shape = re.search(r"\\begin\{tabular\}\{([lr]+)\}", table)[1]
        assert shape == "".join("r" if field.is_number else "l" for field in sheet.fields)
        lines = [line for line in table.splitlines() if line.endswith(r"\\")]
        has_units = any(field.unit for field in sheet.fields)
        assert len(lines) == len(sheet.rows) + 1 + has_units
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(shape) - 1}
        assert not any(line.lstrip().startswith(("[", "*")) for line in lines)
        assert table.count("\\caption{") == table.count("\\label{tab:") == 1
        assert re.search(r"\\label\{tab:[A-Za-z0-9.-]*\}", table)


def test_latex_of_a_front_has_units_rounded_numbers_and_its_origin():
    front = a_front(("accuracy", "macs"), seeds=2, scale=1e4, version=7)
    text = latex([front_sheet(front)]).decode()
    assert text.startswith("% \\usepackage{booktabs}\n\\begin{table}")
    assert r"\caption{Sweep small, task digits-10: 3 non-dominated networks. Front version 7" in text
    assert r"\label{tab:small-digits-10-v7}" in text
    assert "reference point: accuracy 0, macs 1e+12" in text
    heads = r"accuracy $\uparrow$ & breadth & depth & time & macs $\downarrow$ & time\_pressure & seeds & layers & wall"
    assert rf"{heads} & key \\" in text
    units = "(share) & (channels) & (layers) & (steps) & (multiply-accumulates per image) & (nats) & (count)"
    assert f"{units} & (channels) &  &" in text
    assert r"$0.255 \pm 0.007$ & $10{,}000.1$" in text
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 1


def test_latex_of_a_front_says_the_numbers_of_the_terminal():
    front = a_front(scale=123.456)
    cells = {cell for row in front_sheet(front).rows for cell in row if cell}
    terminal = words_of(shown(front_table(front), crop=False))
    assert {word for cell in cells for word in cell.split()} <= terminal


def test_powers_of_ten_are_set_as_such():
    text = latex([Sheet("a", (Field("x", ("1e-05", "2.5e+10"), is_number=True),))]).decode()
    assert r"$1 \times 10^{-5}$" in text
    assert r"$2.5 \times 10^{10}$" in text


def test_long_table_goes_on_on_the_next_page():
    sheet = Sheet("Many", (Field("key", tuple(map(str, range(41)))),), label="many")
    text = latex([sheet]).decode()
    assert text.startswith("% \\usepackage{booktabs} \\usepackage{longtable}\n")
    assert text.count("longtable}") == 3
    assert "\\endhead" in text
    assert "\\begin{table}" not in text
    assert "longtable" not in latex([Sheet("Few", (Field("key", ("a",) * 40),))]).decode()


def test_sheet_without_columns_is_a_remark():
    assert latex([Sheet("none of 3 meets\n x", ())]).decode() == "% \\usepackage{booktabs}\n% none of 3 meets x\n"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
def test_latex_compiles(tmp_path):
    hostile = Field("a_b&c%", ("[x]", "*y", "\\z{", "$&#^_~%", "é↑雪", "``--,,"), "50%")
    sheets = [front_sheet(a_front(seeds=2)), Sheet("Hostile $x_1$ & \\y", (hostile,), ("100 %",), "odd {label}")]
    body = latex(sheets).decode()
    document = f"\\documentclass{{article}}\n\\usepackage{{booktabs,longtable}}\n\\begin{{document}}\n{body}\\end{{document}}\n"
    (tmp_path / "all.tex").write_text(document)
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"], cwd=tmp_path)
    assert done.returncode == 0


# --- in a terminal --------------------------------------------------------------------------------

WORDS = st.text("abcdefgh0123456789.", min_size=1, max_size=20)


COLUMNS = st.integers(1, 4).flatmap(
    lambda rows: st.lists(
        st.builds(
            Field,
            st.sampled_from(["key", "breadth_pressure", "accuracy", "reason", "layers", "setting.channels"]),
            st.lists(WORDS, min_size=rows, max_size=rows).map(tuple),
            st.just(""),
            st.none() | st.sampled_from(Goal),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda field: field.title,
    ).map(tuple)
)


@given(COLUMNS, st.integers(40, 160))
def test_listing_never_cuts_a_word(columns, width):
    text = shown(listing(Sheet("What it shows", columns), width), width, crop=False)
    assert "…" not in text
    assert {cell for field in columns if field.title not in ("reason", "layers") for cell in field.cells} <= words_of(
        text
    )


@given(COLUMNS)
def test_listing_in_a_terminal_that_is_just_wide_enough_is_laid_out_as_in_a_wide_one(columns):
    sheet = Sheet("s", tuple(field for field in columns if field.title not in ("reason", "layers")))
    wide = shown(listing(sheet, 1000), 1000)
    width = max(len(line) for line in wide.splitlines()) + 1  # with a space at the right edge
    assert shown(listing(sheet, width), width, crop=False) == wide


def test_listing_that_is_too_wide_for_spreads_alone_leaves_its_titles_whole():
    spreads = [Field(f"exit_{n}", ("0.953 ±0.010",), goal=Goal.MAXIMIZE, is_number=True) for n in range(4)]
    sheet = Sheet("s", (Field("key", ("aeecc87b3c866fd3",)), *spreads))
    text = shown(listing(sheet, 64), 64, crop=False)
    assert max(map(len, text.splitlines())) <= 64
    assert "key               exit_0 ↑  exit_1 ↑" in text
    assert "0.953     0.953     0.953     0.953\n" in text
    assert "±0.010    ±0.010" in text


def test_titles_are_broken_before_rows_take_two_lines():
    spread = Field("test_accuracy", ("0.953 ±0.010",), is_number=True)
    prices = [Field(f"{name}_pressure", ("0.003",), is_number=True) for name in ("breadth", "depth", "time")]
    sheet = Sheet("s", (Field("key", ("aeecc87b3c866fd3",)), spread, *prices))
    text = shown(listing(sheet, 70), 70, crop=False)
    assert "aeecc87b3c866fd3  0.953 ±0.010     0.003     0.003     0.003" in text
    assert "breadth_    depth_     time_\n" in text


def test_layers_go_on_in_the_next_line_before_anything_else_does():
    layers = Field("layers", (" ".join(map(str, range(100, 130))),))
    sheet = Sheet("s", (Field("key", ("aeecc87b3c866fd3",)), Field("cost_depth", ("0.5 ±0.1",)), layers))
    text = shown(listing(sheet, 60), 60, crop=False)
    assert max(map(len, text.splitlines())) <= 60
    assert {"cost_depth", *map(str, range(100, 130))} <= words_of(text)
    assert "aeecc87b3c866fd3  0.5 ±0.1    100 101 102" in text


def test_listing_that_is_too_wide_breaks_titles_and_spreads_and_then_fits():
    wide = tuple(
        Field(f"{name}_pressure", ("0.0005",), is_number=True) for name in ("breadth", "depth", "time", "other")
    )
    spread = Field("accuracy", ("0.953 ±0.010",), goal=Goal.MAXIMIZE, is_number=True)
    sheet = Sheet("s", (Field("key", ("aeecc87b3c866fd3",)), *wide, spread))
    text = shown(listing(sheet, 80), 80, crop=False)
    assert max(map(len, text.splitlines())) <= 80
    assert {"aeecc87b3c866fd3", "breadth_", "pressure", "0.953", "±0.010", "↑"} <= words_of(text)
    assert {"breadth_pressure", "±0.010"} <= words_of(shown(listing(sheet, 200), 200))


def test_long_reason_is_folded_beside_its_key():
    reason = "RuntimeError: " + "the matrix is not invertible " * 8
    text = shown(listing(Sheet("s", (Field("key", ("aeecc87b3c866fd3",)), Field("reason", (reason,)))), 80), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.split().count("invertible") == 8


def test_reasons_for_which_there_is_no_room_stand_below_the_table_by_their_keys():
    columns = tuple(Field(f"column{number}", ("0.0005", "1"), is_number=True) for number in range(7))
    keys, reasons = Field("key", ("aeecc87b3c866fd3", "0b42069f98ab8286")), Field("reason", ("", "ValueError: no"))
    text = shown(listing(Sheet("s", (keys, *columns, reasons), ("the note",)), 80), 80)
    assert text.splitlines()[-2:] == ["0b42069f98ab8286 reason: ValueError: no", "the note"]
    assert "aeecc87b3c866fd3 reason" not in text


def test_text_in_brackets_is_no_markup():
    text = shown(listing(Sheet("[red]a[/]", (Field("[bold]", ("[link]x",)),), ("[i]",))), crop=False)
    assert {"[red]a[/]", "[bold]", "[link]x", "[i]"} <= words_of(text)


def test_reason_is_its_last_line_and_moves_no_cursor():
    assert last_line("Traceback:\n  File x\nValueError: no\n\n") == "ValueError: no"
    assert last_line("") == ""
    assert value_text("reason", "a\x1b[31mb\x07") == "a [31mb "


def test_cells_of_every_kind():
    row = {"on_front": True, "outcome": "timed_out", "noise": 1e-5, "classes": 10, "seeds": [0, 1], "why": None}
    found = {field.title: (field.cells[0], field.is_number) for field in fields([row], row)}
    assert found == {
        "front": ("yes", False),
        "outcome": ("timed out", False),
        "noise": ("1e-05", True),
        "classes": ("10", True),
        "seeds": ("0 1", False),
        "why": ("-", False),
    }
    (field,) = fields([{"macs": 12345.6}], ["macs", "nothing"], [Objective("macs", Goal.MINIMIZE)])
    assert (field.cells, field.unit, field.goal) == (("12,346",), "multiply-accumulates per image", Goal.MINIMIZE)
