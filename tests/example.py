"""The example configuration, kept to the settings models: every key, and the default that each really has.

`python -m tests.example` (`make docs`) writes `deploy/syncd.toml.example` anew. What the models say comes from them: a
key that is gone goes, a default that changed is put right, a key that is new is put at the end of its section, with the
meaning that its model tells (the string below the field, or the comment above it). The order and the words of all else
stay as a person wrote them. `problems` names the keys whose meaning nobody told.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from syncd.providers.options import AccountOptions, Options, seconds
from syncd.providers.registry import REGISTRY
from syncd.settings import SECTIONS, FieldSettings

EXAMPLE = Path(__file__).resolve().parents[1] / "deploy/syncd.toml.example"
WIDTH = 118
SHARED = "accounts.crm"
"""The account at which the keys are shown that every account takes."""

_HEADER = re.compile(r"^\[([\w.]+)\]$", re.MULTILINE)
_LINE = re.compile(r"^(#?)(\w+) = (.*)$", re.MULTILINE)
_DURATION = re.compile(r"\d+(ms|s|m|h|d)")


@dataclass
class Result:
    """The file as it should be, and the keys that nobody has told the meaning of."""

    text: str
    problems: list[str] = field(default_factory=list)


def generated(text: str, sections: Mapping[str, type[Options]] = SECTIONS) -> Result:
    """The example with the keys and defaults of the models. What is right already is left as it is."""
    head, *rest = _HEADER.split(text)
    tables = dict(zip(rest[::2], rest[1::2], strict=True))
    problems: list[str] = []
    for name in [one for one in sections if one not in tables]:
        tables = _inserted(tables, name, before=next(one for one in tables if one.startswith("accounts.")))
    for name, body in tables.items():
        model = _model(name, body, sections)
        if model is not None:
            tables[name] = _completed(name, _corrected(body, model), model, problems)
    return Result(head + "".join(f"[{name}]{body}" for name, body in tables.items()), problems)


def _inserted(tables: dict[str, str], name: str, before: str) -> dict[str, str]:
    """With one table more. What introduces the next stands at the end of the one before it, and must stay there."""
    names = list(tables)
    last = names[names.index(before) - 1]
    own, gap, introduction = tables[last].partition("\n\n\n")
    return {
        key: value
        for old, body in tables.items()
        for key, value in ([(last, f"{own}\n\n"), (name, f"\n{gap}{introduction}")] if old == last else [(old, body)])
    }


def _model(name: str, body: str, sections: Mapping[str, type[Options]]) -> type[Options] | None:
    kind, _, own = name.partition(".")
    if kind == "accounts":
        return REGISTRY[_set(body)["provider"]].options
    return sections.get(name) or (FieldSettings if kind == "fields" and own else None)


def _set(body: str) -> dict[str, Any]:
    return tomllib.loads("\n".join(line for line in body.splitlines() if not line.startswith("#")))


def _corrected(body: str, model: type[Options]) -> str:
    """Without keys that are none, and with the true value behind every # where there is one."""

    def line(match: re.Match[str]) -> str:
        hidden, key, shown = match.groups()
        about = model.model_fields.get(key) or model.model_fields.get(key.removesuffix("_file"))
        if about is None:
            return GONE
        default = about.get_default(call_default_factory=True)
        if not hidden or default in (None, {}, ()) or _same(shown, default):
            return match[0]
        return f"#{key} = {shown_as(default, about.metadata)}"

    return _LINE.sub(line, body).replace(f"{GONE}\n", "")


GONE = "\0"


def _same(shown: str, default: Any) -> bool:
    value = tomllib.loads(f"x = {shown}")["x"]
    if isinstance(default, BaseModel):
        return bool(type(default)(**value) == default)
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(default, int | float) and isinstance(value, str) and _DURATION.fullmatch(value):
        value = seconds(value)
    return bool(value == default)


def _completed(name: str, body: str, model: type[Options], problems: list[str]) -> str:
    """With the keys that it did not show, each below its meaning."""
    shown = {match[2].removesuffix("_file") for match in _LINE.finditer(body)} | {
        match[2] for match in _LINE.finditer(body)
    }
    lines: list[str] = []
    for key, about in model.model_fields.items():
        if key in shown or (name.startswith("accounts.") and name != SHARED and key in AccountOptions.model_fields):
            continue
        default = about.get_default(call_default_factory=True)
        if not (meaning := meaning_of(model, key)):
            problems.append(f"[{name}] {key}: say what it is for, above it in {EXAMPLE.name} or below it in its model")
        if default is None or default is PydanticUndefined:
            problems.append(
                f"[{name}] {key}: has no default to show; write it into {EXAMPLE.name} with a value that fits"
            )
            continue
        lines += textwrap.wrap(meaning or "", WIDTH, initial_indent="# ", subsequent_indent="# ")
        lines.append(f"#{key} = {shown_as(default, about.metadata)}")
    if not lines:
        return body
    own, gap, introduction = body.partition("\n\n")
    return "\n".join([own.rstrip("\n"), *lines]) + (gap + introduction if gap else "\n")


def shown_as(value: Any, metadata: list[Any]) -> str:
    """A default as TOML. Seconds are shown as people write them."""
    if any(getattr(one, "func", None) is seconds for one in metadata) and isinstance(value, int | float):
        return f'"{_lasting(float(value))}"'
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case list() | tuple() | set() | frozenset():
            return f"[{', '.join(shown_as(one, []) for one in value)}]"
        case BaseModel():
            return shown_as(value.model_dump(exclude_none=True), [])
        case dict():
            return (
                "{ " + ", ".join(f"{key} = {shown_as(one, [])}" for key, one in value.items()) + " }" if value else "{}"
            )
        case _:
            return json.dumps(str(value), ensure_ascii=False)


def _lasting(value: float) -> str:
    for unit, size in (("d", 86_400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0)):
        if value == size or (value >= 2 * size and value % size == 0):
            return f"{value / size:g}{unit}"
    return f"{value * 1000:g}ms"


def meaning_of(model: type[BaseModel], key: str) -> str:
    """What the source says of a field: the string below it, or the comments above or behind it."""
    owner = next((base for base in model.__mro__ if key in vars(base).get("__annotations__", {})), None)
    return _meanings(owner).get(key, "") if owner is not None else ""


@cache
def _meanings(owner: type) -> dict[str, str]:
    source = textwrap.dedent(inspect.getsource(owner))
    lines = source.splitlines()
    [body] = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    return {key: text for key, text in _told(body.body, lines) if text}


def _told(body: list[ast.stmt], lines: list[str]) -> Iterator[tuple[str, str]]:
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            yield name, " ".join(str(following.value.value).split())
            continue
        above: list[str] = []
        at = statement.lineno - 2
        while at >= 0 and lines[at].strip().startswith("#"):
            above.insert(0, lines[at].strip().lstrip("# "))
            at -= 1
        behind = lines[(statement.end_lineno or 1) - 1].partition("  # ")[2]
        yield name, " ".join([*above, *([] if behind.startswith(("noqa", "type:")) else [behind])]).strip()


def main() -> int:
    result = generated(EXAMPLE.read_text(encoding="utf-8"))
    for problem in result.problems:
        sys.stderr.write(f"{problem}\n")
    if not result.problems:
        EXAMPLE.write_text(result.text, encoding="utf-8")
    return bool(result.problems)


if __name__ == "__main__":
    sys.exit(main())
