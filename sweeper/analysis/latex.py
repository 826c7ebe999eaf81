"""Writes sheets as LaTeX tables for a paper, with booktabs. All text is escaped, so that it compiles."""

from __future__ import annotations

import re
import unicodedata

from sweeper.analysis.sheet import Field, Sheet

#: Most rows of a table on one page; longer tables continue on the next page.
_PAGE_ROWS = 40

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{letter: f"{{{letter}}}" for letter in "[]*"},  # after the end of a row LaTeX would read them as options
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}

#: Places between two characters that LaTeX would join into one, such as two hyphens into a dash.
_LIGATURE = re.compile(r"(?<=[-`',?!])(?=[-`',])")

_NUMBER = re.compile(r"([-+]?[\d,]+(?:\.\d+)?)(?:e([-+]?\d+))?(?: ±([\d,]+(?:\.\d+)?))?")


def latex(sheets: list[Sheet]) -> bytes:
    """Return sheets as tables, one after another.

    The document needs `booktabs`, and `longtable` if a sheet has more than forty rows.
    """
    packages = ["booktabs", *(["longtable"] if any(len(sheet.rows) > _PAGE_ROWS for sheet in sheets) else [])]
    head = "% " + " ".join(f"\\usepackage{{{name}}}" for name in packages) + "\n"
    return (head + "\n".join(map(_table, sheets))).encode()


def escaped(text: str) -> str:
    """Escape text for LaTeX, so that nothing in it is a command; letters beyond accented ones become `U+` numbers."""
    words = " ".join(unicodedata.normalize("NFC", text).split())
    return "{}".join("".join(map(_letter, part)) for part in _LIGATURE.split(words))


def _letter(letter: str) -> str:
    if letter in _ESCAPED:
        return _ESCAPED[letter]
    if " " <= letter <= "~":
        return letter
    apart = unicodedata.normalize("NFD", letter)
    if "À" <= letter <= "ÿ" and len(apart) > 1 and apart[0].isascii():  # an accented letter, which every LaTeX knows
        return letter
    return f"U+{ord(letter):04X}"


def _table(sheet: Sheet) -> str:
    if not sheet.fields:
        return f"% {' '.join(sheet.headline.split())}\n"
    shape = "".join("p{0.3\\linewidth}" if f.is_prose else "r" if f.is_number else "l" for f in sheet.fields)
    heads = [" & ".join(map(_head, sheet.fields))]
    if any(field.unit for field in sheet.fields):
        heads.append(" & ".join(f"({escaped(field.unit)})" if field.unit else "" for field in sheet.fields))
    rows = [" & ".join(map(_set, sheet.fields, row)) for row in sheet.rows]
    caption = f"\\caption{{{' '.join(map(_sentence, (sheet.headline, *sheet.notes)))}}}\\label{{{_label(sheet.label)}}}"
    top, body = _lines(heads), _lines(rows)
    if len(rows) > _PAGE_ROWS:
        begin, end = f"\\begin{{longtable}}{{{shape}}}\n{caption}\\\\\n", "\\bottomrule\n\\end{longtable}\n"
        return f"{begin}\\toprule\n{top}\\midrule\n\\endhead\n{body}{end}"
    begin = f"\\begin{{table}}\n\\centering\n{caption}\n\\begin{{tabular}}{{{shape}}}\n"
    return f"{begin}\\toprule\n{top}\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"


def _lines(rows: list[str]) -> str:
    return "".join(f"{row} \\\\\n" for row in rows)


def _head(field: Field) -> str:
    return escaped(field.head)


def _set(field: Field, cell: str) -> str:
    match = _NUMBER.fullmatch(cell) if field.is_number else None
    if match is None:
        return escaped(cell)
    mean, spread = (match[part].replace(",", "{,}") if match[part] else "" for part in (1, 3))
    power = f" \\times 10^{{{int(match[2])}}}" if match[2] else ""
    return f"${mean}{power} \\pm {spread}$" if spread else f"${mean}{power}$"


def _sentence(text: str) -> str:
    return escaped(text) + ("" if text.endswith(".") else ".")


def _label(text: str) -> str:
    return "tab:" + re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")
