"""What people get to see of syncd in a browser: templates and the one style sheet they share.

`render` fills a template from plain values and escapes all of them. A page is whole by itself: no script, and no style
sheet, font or picture from anywhere. The style sheet is in the page, and `POLICY` lets a browser apply that one alone.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from syncd.pages.metrics import Sample, exposition
from syncd.pages.words import ago, clock, lasting, marked, number, plain, sentence

__all__ = [
    "POLICY", "Sample", "docs_page", "exposition", "no_such_link_page", "render", "unsubscribe_page",
    "unsubscribed_page",
]  # fmt: skip

_HERE = Path(__file__).parent
STYLE = (_HERE / "style.css").read_text(encoding="utf-8")
_DIGEST = base64.b64encode(sha256(STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of every page: nothing but its own style sheet, and forms that lead back here."""

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=plain,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
# Ours, and between <style> tags, where an escaped quote would be another text than the one the policy names.
_ENVIRONMENT.globals["style"] = Markup(STYLE)  # noqa: S704
_ENVIRONMENT.filters.update(ago=ago, clock=clock, lasting=lasting, marked=marked, number=number, sentence=sentence)


def render(name: str, /, **values: Any) -> str:
    """A page from the template of this name. A value that the template asks for and nobody gave is an error."""
    return _ENVIRONMENT.get_template(name).render(**values)


# One click -----------------------------------------------------------------------------------------------------------


def unsubscribe_page(scope: str) -> str:
    return render("unsubscribe.html", scope=scope)


def unsubscribed_page(scope: str) -> str:
    return render("unsubscribed.html", scope=scope)


def no_such_link_page() -> str:
    return render("no_such_link.html")


# The API -------------------------------------------------------------------------------------------------------------

METHODS = ("get", "head", "post", "put")


def docs_page(document: Mapping[str, Any]) -> str:
    """A description of an API (OpenAPI 3.1) for people to read."""
    return render("docs.html", info=document["info"], operations=list(_operations(document)))


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method not in item:
                continue
            operation = item[method]
            body = _resolved(document, operation.get("requestBody", {}))
            yield {
                "method": method.upper(),
                "path": path,
                "summary": operation["summary"],
                "description": operation.get("description", ""),
                "parameters": [
                    _resolved(document, entry)
                    for entry in (*item.get("parameters", ()), *operation.get("parameters", ()))
                ],
                "bodies": [
                    (kind, _text(content["example"]) if "example" in content else "")
                    for kind, content in body.get("content", {}).items()
                ],
                "answers": [
                    (status, _resolved(document, answer)["description"])
                    for status, answer in operation["responses"].items()
                ],
            }


def _resolved(document: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in node:
        return node
    found: Any = document
    for name in node["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


def _text(example: Any) -> str:
    if isinstance(example, str):
        return example
    return "{" + ", ".join(f'"{name}": {_quoted(value)}' for name, value in example.items()) + "}"


def _quoted(value: Any) -> str:
    return _text(value) if isinstance(value, dict) else f'"{value}"'
