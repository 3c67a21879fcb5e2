"""A document of sections, as Markdown and as one HTML page that needs nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Table:
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Code:
    """Something to be copied as it stands."""

    text: str


Block = str | Table | Code
"""A paragraph, a table, or something to copy. In paragraphs and cells, what stands between backticks is code."""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Paper:
    title: str
    opening: str
    sections: Sequence[Section]


def markdown_of(paper: Paper) -> str:
    parts = [f"# {paper.title}", paper.opening]
    for section in paper.sections:
        parts.append(f"## {section.title}")
        parts += [_markdown(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case str():
            return block
        case Code():
            return f"```\n{block.text}\n```"
        case Table():
            lines = [block.columns, ["---"] * len(block.columns), *block.rows]
            return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}th,td{border:1px solid #bbb;padding:.3rem .6rem;text-align:left;"
    "vertical-align:top}code,pre{font-family:ui-monospace,monospace;background:#f3f3f3}pre{padding:.6rem;"
    "white-space:pre-wrap}"
)


def html_of(paper: Paper) -> str:
    body = [f"<h1>{escape(paper.title)}</h1>", f"<p>{_inline(paper.opening)}</p>"]
    for section in paper.sections:
        body.append(f"<h2>{escape(section.title)}</h2>")
        body += [_html(block) for block in section.blocks]
    head = f'<meta charset="utf-8"><title>{escape(paper.title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(body) + "\n</body></html>\n"


def _html(block: Block) -> str:
    match block:
        case str():
            return f"<p>{_inline(block)}</p>"
        case Code():
            return f"<pre>{escape(block.text)}</pre>"
        case Table():
            head = "".join(f"<th>{_inline(cell)}</th>" for cell in block.columns)
            rows = ("".join(f"<td>{_inline(cell)}</td>" for cell in row) for row in block.rows)
            return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _inline(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
