"""The pages at /_emulator/: plain HTML, one file each, nothing fetched from anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

import msgspec

from .style import STYLE

PAGE_SIZE = 50
_CLIP = 40
_CLIP_TITLE = 2_000

_ROW = msgspec.json.Decoder(dict[str, msgspec.Raw])


def page_count(rows: int) -> int:
    """Return how many pages that many rows take; none is one empty page."""
    return max(1, -(-rows // PAGE_SIZE))


def page_number(text: str, rows: int) -> int:
    """Return the page asked for, or the nearest there is."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1
    return min(max(number, 1), page_count(rows))


def overview(tables: Mapping[str, int], stats: Mapping[str, Any], faults: Iterable[Mapping[str, Any]]) -> str:
    """Return the first page: the tables, the counts, the faults that are set."""
    content = [
        _tables(tables),
        "<h2>Requests</h2>",
        '<div class="cards">',
        _card("Production", stats),
        _card("Sandbox", stats["sandbox"]),
        "</div>",
        _faults(faults),
    ]
    return _document("Tables", "".join(content))


def table(name: str, tables: Mapping[str, int], number: int, rows: Iterable[str]) -> str:
    """Return one page of a table: ``number`` is the page's, ``rows`` are its rows as JSON text."""
    points = [_ROW.decode(row) for row in rows]
    cells = [{column: _Cell(bytes(value)) for column, value in point.items()} for point in points]
    columns = list(dict.fromkeys(column for point in points for column in point))
    first = (number - 1) * PAGE_SIZE + 1
    pager = _pager(name, tables[name], number, first, len(points))
    content = [
        _switch(tables, name),
        f'<div class="bar"><h1>{escape(name)}</h1>{pager}</div>',
        '<div class="scroll tall" tabindex="0"><table class="rows"><thead><tr><th class="index number">#</th>',
        *(_heading(column, [row[column] for row in cells if column in row]) for column in columns),
        "</tr></thead><tbody>",
    ]
    for index, row in enumerate(cells, first):
        shown = "".join(row[column].html() if column in row else "<td></td>" for column in columns)
        content.append(f'<tr><td class="index number">{index}</td>{shown}</tr>')
    content.append("</tbody></table></div>")
    return _document(name, "".join(content))


def unknown_table(name: str, tables: Mapping[str, int]) -> str:
    """Return the page for a table that is not there."""
    text = f"<h1>No such table</h1><p>Nothing was pushed to <b>{escape(_clip(name, _CLIP))}</b>.</p>"
    return _document("No such table", text + _tables(tables))


class _Cell:
    """One value, as it was sent."""

    def __init__(self, raw: bytes) -> None:
        self.is_null = raw == b"null"
        self.is_number = raw[0] in b"-0123456789"
        self.is_text = raw[0] in b'"'
        self.text: str = msgspec.json.decode(raw) if self.is_text else raw.decode()

    def html(self) -> str:
        if self.is_null:
            return '<td class="null">null</td>'
        if self.is_text and not self.text:
            return '<td class="null">""</td>'
        kind = ' class="number"' if self.is_number else "" if self.is_text else ' class="code"'
        title = f' title="{escape(_clip(self.text, _CLIP_TITLE))}"' if len(self.text) > _CLIP else ""
        return f"<td{kind}{title}>{escape(_clip(self.text, _CLIP))}</td>"


def _heading(column: str, cells: list[_Cell]) -> str:
    numeric = all(cell.is_number or cell.is_null for cell in cells) and any(cell.is_number for cell in cells)
    title = f' title="{escape(column)}"' if len(column) > _CLIP else ""
    kind = ' class="number"' if numeric else ""
    return f"<th{kind}{title}>{escape(_clip(column, _CLIP))}</th>"


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _link(name: str, page: int = 1) -> str:
    return f"/_emulator/?table={quote(name)}" + (f"&amp;page={page}" if page > 1 else "")


def _tables(tables: Mapping[str, int]) -> str:
    if not tables:
        return (
            '<h1>Tables</h1><div class="empty"><p>Nothing was pushed yet.</p>'
            "<p>A table appears with the first data points pushed to it; reload this page then.</p></div>"
        )
    rows = "".join(
        f'<tr><td><a href="{_link(name)}">{escape(name)}</a></td><td class="number">{count:,}</td></tr>'
        for name, count in tables.items()
    )
    head = '<thead><tr><th>Table</th><th class="number">Rows</th></tr></thead>'
    return f'<h1>Tables</h1><div class="scroll narrow"><table>{head}<tbody>{rows}</tbody></table></div>'


def _switch(tables: Mapping[str, int], current: str) -> str:
    links = (
        f'<a href="{_link(name)}"{" aria-current=page" if name == current else ""}>{escape(name)}</a>'
        for name in tables
    )
    return f'<nav class="switch" aria-label="Tables">{"".join(links)}</nav>'


def _pager(name: str, count: int, number: int, first: int, shown: int) -> str:
    last = page_count(count)
    steps = [("First", 1, number > 1), ("Previous", number - 1, number > 1)]
    steps += [("Next", number + 1, number < last), ("Last", last, number < last)]
    links = (
        f'<a href="{_link(name, page)}">{label}</a>' if there else f"<span>{label}</span>"
        for label, page, there in steps
    )
    rows = f"Rows {first:,} to {first + shown - 1:,} of {count:,}" if shown else f"{count:,} rows"
    pages = f'<nav class="pager" aria-label="Pages">{"".join(links)}</nav>' if last > 1 else ""
    return f'<span class="count">{rows}</span>{pages}'


def _card(title: str, stats: Mapping[str, Any]) -> str:
    numbers = [("requests", stats["requests"]), ("data points", stats["data_points"])]
    figures = "".join(f"<div><dt>{label}</dt><dd>{value:,}</dd></div>" for label, value in numbers)
    badges = "".join(
        f'<li class="{"good" if status < "400" else "bad"}"><b>{status}</b> {count:,}</li>'
        for status, count in stats["statuses"].items()
    )
    statuses = f'<ul class="badges">{badges}</ul>' if badges else ""
    return f'<section class="card"><h3>{title}</h3><dl>{figures}</dl>{statuses}</section>'


def _faults(faults: Iterable[Mapping[str, Any]]) -> str:
    items = []
    for fault in faults:
        text = escape(json.dumps({key: fault[key] for key in fault if key != "fired"}, ensure_ascii=False))
        items.append(f'<tr><td><code>{text}</code></td><td class="number">{fault["fired"]:,}</td></tr>')
    if not items:
        return ""
    head = '<thead><tr><th>Fault</th><th class="number">Fired</th></tr></thead>'
    table = f"<table>{head}<tbody>{''.join(items)}</tbody></table>"
    return f'<h2>Faults</h2><div class="scroll narrow">{table}</div>'


def _document(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)} · Data Import API emulator</title><style>{STYLE}</style></head><body>"
        '<header><a href="/_emulator/">Data Import API <b>emulator</b></a></header>'
        f"<main>{content}</main></body></html>"
    )
