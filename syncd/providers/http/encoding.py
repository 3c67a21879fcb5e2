"""One person as a request: the configured fields and constants, in any of the four encodings.

No value can break out of its place. JSON, forms and XML escape it; plain text has no escape, so that what would end a
line never gets there.
"""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Mapping
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, SubElement, tostring

from pydantic import SecretStr

from syncd.domain.changes import Change
from syncd.domain.stars import SECRET_NAMES, keys_in
from syncd.providers.http.options import (
    EMAIL,
    LIST,
    ApiKeyAuth,
    Auth,
    BasicAuth,
    BearerAuth,
    ClientAuth,
    Encoding,
    HttpOptions,
    NoAuth,
    Plain,
)
from syncd.wire import Request

Parameters = Mapping[str, Plain]
"""Dotted path -> value, in the order in which they are sent."""

CONTENT_TYPES: Mapping[Encoding, str] = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "text": "text/plain; charset=utf-8",
    "xml": "application/xml",
}

IN_THE_QUERY = frozenset({"GET", "DELETE"})
"""Methods whose body no receiver reads: there the parameters go with the address."""


def values_of(change: Change) -> dict[str, str]:
    """What can be sent of a person, by our names."""
    known = {EMAIL: change.address, LIST: str(change.container), **change.fields}
    return {name: clean for name, value in known.items() if (clean := _clean(value))}


def parameters_of(values: Mapping[str, str], fields: Mapping[str, str], constants: Parameters) -> dict[str, Plain]:
    """Their names for it. A field of which nothing is known is left out: a blank is no value."""
    return {**constants, **{path: values[field] for field, path in fields.items() if field in values}}


def request_of(
    method: str,
    url: str,
    parameters: Parameters,
    encoding: Encoding,
    headers: Mapping[str, str],
    *,
    xml_root: str,
    label: str,
) -> Request:
    """`headers` are sent as they are, and never hold anything of a person."""
    if method in IN_THE_QUERY:
        query = _form(parameters).decode()
        return Request(method, f"{url}{'&' if '?' in url else '?'}{query}", headers, label=label, token=False)
    body = {"json": _json, "form": _form, "text": _text}.get(encoding, lambda given: _xml(given, xml_root))(parameters)
    return Request(method, url, {"content-type": CONTENT_TYPES[encoding], **headers}, body, label=label, token=False)


def proof_of(auth: Auth) -> dict[str, str]:
    """The headers by which the receiver knows us."""
    match auth:
        case NoAuth():
            return {}
        case BasicAuth():
            pair = f"{auth.username}:{auth.password.get_secret_value()}"
            return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        case ApiKeyAuth():
            return {auth.header.lower(): auth.key.get_secret_value()}
        case ClientAuth():
            secret = auth.client_secret.get_secret_value()
            return {auth.client_id_header.lower(): auth.client_id, auth.client_secret_header.lower(): secret}
        case BearerAuth():
            return {"authorization": f"Bearer {auth.token.get_secret_value()}"}


def secrets_of(options: HttpOptions) -> set[str]:
    """All that we send and that must be shown to nobody: of credentials, of addresses, of constants."""
    auth, told = options.auth, options.unsubscribe
    plain = {value.get_secret_value() for _, value in auth if isinstance(value, SecretStr)}
    sent = {value.removeprefix("Basic ") for value in proof_of(auth).values()}
    places = [options.endpoint, options.test_endpoint, told.endpoint if told else None]
    constants = [options.constants, options.test_constants, told.constants if told else {}]
    named = {_spelt(value) for one in constants for name, value in one.items() if SECRET_NAMES.search(name)}
    return plain | sent | named | {key for place in places if place is not None for key in keys_in(place)}


def _clean(value: str) -> str:
    """One line of characters that every encoding can hold: no control, no half character, nothing that XML forbids."""
    kept = "".join(" " if _ends_a_line(ch) else ch for ch in value if _can_be_sent(ch))
    return kept.strip()


def _ends_a_line(ch: str) -> bool:
    return ch in "\t\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


def _can_be_sent(ch: str) -> bool:
    return _ends_a_line(ch) or (unicodedata.category(ch) not in {"Cc", "Cs"} and ch not in "\ufffe\uffff")


def _json(parameters: Parameters) -> bytes:
    nested: dict[str, object] = {}
    for path, value in parameters.items():
        *steps, last = path.split(".")
        at = nested
        for step in steps:
            at = at.setdefault(step, {})  # type: ignore[assignment]  # a value never holds others, see the options
        at[last] = value
    return json.dumps(nested, ensure_ascii=False, separators=(",", ":")).encode()


def _form(parameters: Parameters) -> bytes:
    return urlencode({path: _spelt(value) for path, value in parameters.items()}).encode()


def _text(parameters: Parameters) -> bytes:
    return "".join(f"{path}={_clean(_spelt(value))}\n" for path, value in parameters.items()).encode()


def _xml(parameters: Parameters, root_name: str) -> bytes:
    root = Element(root_name)
    for path, value in parameters.items():
        *steps, last = path.split(".")
        at = root
        for step in steps:
            found = at.find(step)
            at = SubElement(at, step) if found is None else found
        SubElement(at, last).text = _clean(_spelt(value))
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _spelt(value: Plain) -> str:
    return value if isinstance(value, str) else json.dumps(value)
