"""The schemas as a third witness: whatever passes between an adapter and an emulator, anywhere in the tests, fits them.

They were written from the providers' documents, by neither. What does not fit is noted here, and the test in which it
happened fails at its end: raised on the way, it would pass for one more fault of a provider.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.etree.ElementTree import Element, ParseError, fromstring

from jsonschema import Draft202012Validator

from syncd.emulators.emulator import Emulator
from syncd.wire import Request, Response

ROOT = Path(__file__).resolve().parents[1] / "schemas" / "providers"
FORM = "application/x-www-form-urlencoded"

VIOLATIONS: list[str] = []
"""What did not fit since the last look."""

_SEEN: set[tuple[str, int]] = set()
"""Bodies that fitted: most of a long test are the same ones."""


@cache
def index(provider: str) -> dict[str, Any]:
    path = ROOT / provider / "index.json"
    return json.loads(path.read_text()) if path.is_file() else {}


@cache
def validator(provider: str, name: str, *, renamed: bool = False) -> Any:
    """If `renamed`, the parameters are called otherwise than usual: what they are is looked at, and not which."""
    schema = json.loads((ROOT / provider / name).read_text())
    if renamed:
        schema |= {"required": [], "properties": {}}
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


@cache
def _patterns(provider: str) -> list[tuple[str, re.Pattern[str], Any]]:
    """Keys of the index, the plain ones first."""
    keys = sorted(index(provider), key=lambda key: key.count("{"))
    found = []
    for key in keys:
        method, _, path = key.partition(" ")
        shape = "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", path))
        found.append((method, re.compile(shape), index(provider)[key]))
    return found


@cache
def entry_of(provider: str, method: str, path: str) -> Any:
    """What the index says of a call; None where it says nothing."""
    if path.startswith("{"):
        return index(provider).get(f"{method} {path}")
    for its_method, pattern, entry in _patterns(provider):
        if its_method == method and pattern.fullmatch(path):
            return entry
    return None


def path_of(emulator: Emulator, url: str) -> str:
    """The path as the index has it: below the address of the service, or, where the document names it so, whole.

    Where an operator configures the paths, the index has the names of those keys.
    """
    path = urlsplit(url).path
    if path in (places := getattr(emulator, "places", {})):
        return str(places[path])
    base = urlsplit(getattr(emulator, "base_url", "")).path
    below = path.removeprefix(base)
    known = {key.partition(" ")[2] for key in index(emulator.name)}
    return path if base and any(key.startswith(base) for key in known) else below


def witness_request(emulator: Emulator, request: Request) -> None:
    """Hold what our side sends against the document of the provider."""
    path = path_of(emulator, request.url)
    entry = entry_of(emulator.name, request.method, path)
    call = f"{emulator.name}: {request.method} {path}"
    if entry is None:
        if index(emulator.name):
            VIOLATIONS.append(f"{call}: not in the index")
        return
    renamed = getattr(emulator, "renames", False)
    _hold_query(emulator.name, entry, request, call, renamed=renamed)
    if entry["request"] is not None:
        kind = _type(request.headers)
        _hold(emulator.name, entry["request"], request.body, kind, f"{call}: request", renamed=renamed)
    elif request.body:
        VIOLATIONS.append(f"{call}: documented without a body")


def witness_answer(emulator: Emulator, request: Request, response: Response) -> None:
    """Hold what an emulator answers, before any fault strikes, against the same."""
    path = path_of(emulator, request.url)
    entry = entry_of(emulator.name, request.method, path)
    if entry is None:
        return
    call = f"{emulator.name}: {request.method} {path}: {response.status}"
    status = str(_said(response))
    if status not in entry["response"]:
        VIOLATIONS.append(f"{call}: not a documented status")
    elif (name := entry["response"][status]) is not None:
        _hold(emulator.name, name, response.body, "application/json", call)


def witness_delivery(emulator: Emulator, request: Request) -> None:
    """Hold what an emulator sends to us against the same. Only encodings that carry JSON's shapes are looked at."""
    kind = _type(request.headers)
    entry = _inbound(emulator.name, request)
    call = f"{emulator.name}: delivery {request.label}"
    if entry:
        _hold_query(emulator.name, entry, request, call)
    if entry and entry["request"] and kind in {"application/json", FORM}:
        _hold(emulator.name, entry["request"], request.body, kind, call)


def _inbound(provider: str, request: Request) -> Any:
    entry = entry_of(provider, request.method, urlsplit(request.url).path)
    return entry or index(provider).get(f"{request.method} {{callback_url}}")


def _said(response: Response) -> int:
    """The status of an answer. Sales.Rocks may put the one that counts into the body of a 200."""
    if response.status == 200 and response.body.startswith(b'{"error"'):
        error = json.loads(response.body)["error"]
        if isinstance(error, dict) and isinstance(error.get("status_code"), int):
            return int(error["status_code"])
    return response.status


def _type(headers: Any) -> str:
    given = {name.lower(): value for name, value in headers.items()}
    return str(given.get("content-type", "application/json")).partition(";")[0].strip().lower()


def _hold_query(provider: str, entry: Any, request: Request, call: str, *, renamed: bool = False) -> None:
    """Hold the parameters of an address against `query`; where it is null or missing, there are none."""
    query = urlsplit(request.url).query
    name = entry.get("query")
    if name is not None:
        _hold(provider, name, query.encode(), FORM, f"{call}: query", renamed=renamed)
    elif query:
        VIOLATIONS.append(f"{call}: documented without a query")


def parameters_of(form: str) -> dict[str, str | list[str]]:
    """The names of a form or a query with their values: texts, in a list where a name is there more than once."""
    found: dict[str, str | list[str]] = {}
    for name, value in parse_qsl(form, keep_blank_values=True):
        before = found.get(name)
        found[name] = value if before is None else [*([before] if isinstance(before, str) else before), value]
    return found


def _of_lines(text: str) -> dict[str, str]:
    lines = [line.partition("=") for line in text.removesuffix("\n").split("\n")]
    return {name if sign else "": value for name, sign, value in lines}


def _of_element(text: str) -> Any:
    return _children(fromstring(text))


def _children(element: Element) -> Any:
    return {child.tag: _children(child) for child in element} if len(element) else element.text or ""


READERS: dict[str, Callable[[str], Any]] = {
    FORM: parameters_of,
    "text/plain": _of_lines,
    "application/xml": _of_element,
}
"""How a body becomes what a schema can be held against, by its type; any other is JSON."""


def _hold(provider: str, name: str, body: bytes, kind: str, call: str, *, renamed: bool = False) -> None:
    mark = (f"{provider}/{name} {kind} {renamed}", hash(body))
    if mark in _SEEN:
        return
    try:
        value = READERS.get(kind, json.loads)(body.decode())
    except (ValueError, ParseError):
        VIOLATIONS.append(f"{call}: not {kind}")
        return
    fault = next(validator(provider, name, renamed=renamed).iter_errors(value), None)
    if fault is None:
        _SEEN.add(mark)
    else:
        VIOLATIONS.append(f"{call}: {name}: {'/'.join(map(str, fault.absolute_path))}: {fault.message[:300]}")
