"""The sheet as OpenAPI 3.1, for programs that read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncd.providers.rokt.options import ApiKeyAuth, BasicAuth, ClientAuth, RoktOptions
from syncd.providers.rokt.sheet import DIGESTS, EXAMPLES, REJECTIONS, About, encoded, meaning_of


def openapi_of(about: About, version: str) -> Mapping[str, Any]:
    """A whole document: the two routes of this account and nothing else of the receiver."""
    contact = about.options.contact
    info: dict[str, Any] = {"title": f"Lead delivery to {about.account}", "version": version}
    if contact is not None:
        info["contact"] = {"name": contact.name} | ({"email": contact.email} if contact.email else {})
    schemes = _schemes(about.options)
    return {
        "openapi": "3.1.0",
        "info": info,
        "servers": [{"url": base, "description": name} for name, base in about.bases.items()],
        "security": _security(about.options),
        "paths": {
            about.path("leads"): {method.lower(): _lead(about, method) for method in about.lead_methods},
            about.path("unsubscribes"): {
                method.lower(): _unsubscribe(about, method) for method in about.unsubscribe_methods
            },
        },
        "components": {
            "securitySchemes": schemes,
            "schemas": {"Lead": _lead_schema(about), "Unsubscribe": _person_schema(about), **_answers()},
        },
    }


def _schemes(options: RoktOptions) -> dict[str, Any]:
    auth = options.inbound_auth
    match auth:
        case BasicAuth():
            return {"basic": {"type": "http", "scheme": "basic"}}
        case ApiKeyAuth():
            return {"apiKey": {"type": "apiKey", "in": "header", "name": auth.header}}
        case ClientAuth():
            return {
                "clientId": {"type": "apiKey", "in": "header", "name": auth.client_id_header},
                "clientSecret": {"type": "apiKey", "in": "header", "name": auth.client_secret_header},
                "basic": {"type": "http", "scheme": "basic"},
            }


def _security(options: RoktOptions) -> list[dict[str, list[str]]]:
    schemes = _schemes(options)
    if isinstance(options.inbound_auth, ClientAuth):
        return [{"clientId": [], "clientSecret": []}, {"basic": []}]
    return [{name: []} for name in schemes]


def _lead(about: About, method: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"lead{method.title()}",
        "summary": "One lead",
        "responses": _responses(),
        "parameters": _marks(about),
    }
    if method == "GET":
        operation["parameters"] += [
            {"name": name, "in": "query", "required": name in _required(about), "schema": schema}
            for name, schema in _properties(about).items()
        ]
    else:
        operation["requestBody"] = _body("Lead", about)
    return operation


def _unsubscribe(about: About, method: str) -> dict[str, Any]:
    return {
        "operationId": f"unsubscribe{method.title()}",
        "summary": "Somebody unsubscribed",
        "requestBody": _body("Unsubscribe", about),
        "responses": _responses(),
    }


def _marks(about: About) -> list[dict[str, Any]]:
    if not about.options.test_leads.query:
        return []
    about_it = "Marks a test lead: answered as a real one, and nobody is created."
    return [
        {
            "name": about.options.test_leads.query,
            "in": "query",
            "required": False,
            "description": about_it,
            "schema": {"type": "string", "enum": ["true"]},
        }
    ]


def _body(schema: str, about: About) -> dict[str, Any]:
    names = about.options.parameters
    asked = [names[field] for field in (*about.required, *about.options.asked_for)] if schema == "Lead" else []
    asked += [names[field] for field in DIGESTS]
    content: dict[str, Any] = {}
    for _, kind, text in encoded({names["email"]: EXAMPLES["email"]}, asked):
        plain = {"schema": {"type": "string"}, "example": text}
        content[kind] = plain if kind == "text/plain" else {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {"required": True, "content": content}


def _properties(about: About) -> dict[str, Any]:
    names = about.options.parameters
    fields = dict.fromkeys((*about.required, *about.options.asked_for))
    return {
        names[field]: {"type": ["string", "integer"] if field in {"campaign", "birth_date"} else "string"}
        | {"description": ": ".join(meaning_of(field))}
        for field in fields
    }


def _required(about: About) -> list[str]:
    """What every lead must carry. An address may be given as a digest instead, unless it is required as such."""
    names = about.options.parameters
    strict = "email" in about.options.required
    return [names[field] for field in about.required if field != "email" or strict]


def _any_name(about: About) -> list[dict[str, Any]]:
    names = about.options.parameters
    return [{"required": [names[field]]} for field in ("email", *DIGESTS)]


def _lead_schema(about: About) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": _properties(about), "additionalProperties": True}
    if required := _required(about):
        schema["required"] = required
    if "email" not in about.options.required:
        schema["anyOf"] = _any_name(about)
    return schema


def _person_schema(about: About) -> dict[str, Any]:
    names = about.options.parameters
    properties = {
        names[field]: {"type": "string", "description": meaning_of(field)[0]} for field in ("email", *DIGESTS)
    }
    return {"type": "object", "properties": properties, "anyOf": _any_name(about), "additionalProperties": True}


def _answers() -> dict[str, Any]:
    def shape(status: str, other: str) -> dict[str, Any]:
        properties = {"status": {"const": status}, other: {"type": "string"}}
        return {"type": "object", "properties": properties, "required": ["status", other]}

    return {
        "Created": shape("created", "id"),
        "Duplicate": shape("duplicate", "id"),
        "Rejected": shape("rejected", "error"),
    }


def _responses() -> dict[str, Any]:
    def answer(description: str, schema: str) -> dict[str, Any]:
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
        return {"description": description, "content": content}

    found = {"201": answer("taken, and on disk", "Created"), "200": answer("known already", "Duplicate")}
    for statuses, why, _ in REJECTIONS:
        found |= {status: answer(why.replace("`", ""), "Rejected") for status in statuses.split(", ")}
    return found
