"""The description is what is served, and what is served is the description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from fastapi.routing import APIRoute
from openapi_spec_validator import validate

from syncd.receiver import document_path
from tests.receiver.door import Door

SOURCE = Path(__file__).resolve().parents[2] / "schemas" / "receiver.openapi.yaml"


def described() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(SOURCE.read_text())
    return found


def test_the_description_is_valid_openapi() -> None:
    assert described()["openapi"].startswith("3.1")
    validate(described())


def test_the_description_names_exactly_the_routes_that_there_are(sqlite_door: Door) -> None:
    routes = [route for route in sqlite_door.asgi.routes if isinstance(route, APIRoute)]
    assert len(routes) == len(sqlite_door.asgi.routes)
    served = {(route.path, method) for route in routes for method in route.methods or ()}
    told = {
        (path, name.upper()) for path, item in described()["paths"].items() for name in item if name != "parameters"
    }
    # HEAD goes without saying where there is a GET.
    implied = {(path, "HEAD") for path, method in told if method == "GET"} & served
    assert served == told | implied


async def test_what_is_served_is_the_description(sqlite_door: Door) -> None:
    answer = await sqlite_door.send("GET", "/openapi.json")
    assert answer.json() == described(), (
        f"{document_path().name} is made from {SOURCE.name}: "
        "python -c 'import json, sys, yaml; "
        "print(json.dumps(yaml.safe_load(sys.stdin), indent=1, ensure_ascii=False))' "
        f"< schemas/{SOURCE.name} > schemas/{document_path().name}"
    )


async def test_the_docs_name_every_operation_and_every_encoding(sqlite_door: Door) -> None:
    text = (await sqlite_door.send("GET", "/docs")).text
    for path, item in described()["paths"].items():
        for method in set(item) - {"parameters"}:
            assert f"<code>{method.upper()} {path}</code>" in text
    for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain", "application/xml"):
        assert kind in text
