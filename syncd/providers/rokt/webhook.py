"""What Rokt sends to us: leads as they are generated, and unsubscribes of persons it mails for us.

Neither is signed, numbered or dated (Referral export via API; Unsubscribe export via API), so the sender is known by a
credential alone and a repetition by its content.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC

from syncd.domain.errors import DeliveryError
from syncd.domain.identity import Identity, digests_of
from syncd.domain.records import WHOLE_ACCOUNT, ContainerId, Delivery, Observation, Status
from syncd.providers.contact_points import read_address
from syncd.providers.rokt.bodies import Attributes, attributes_of, canonical
from syncd.providers.rokt.options import ApiKeyAuth, BasicAuth, ClientAuth, RoktOptions, each
from syncd.providers.rokt.translate import fields_of

LEADS = ("leads",)
UNSUBSCRIBES = ("unsubscribes",)

YES = frozenset({"1", "true", "yes"})
"""What the parameter of the address may say that marks a test."""


def verify(delivery: Delivery, options: RoktOptions) -> None:
    """Raise `DeliveryError`: 404 for a route that is not ours, 405 for a method not allowed there, 401 for the rest.

    An unsubscribe is never taken by GET: a link checker that follows one would unsubscribe people.
    """
    if delivery.route not in {LEADS, UNSUBSCRIBES}:
        raise DeliveryError(404, "no such route")
    if delivery.method not in options.methods or (delivery.route == UNSUBSCRIBES and delivery.method == "GET"):
        raise DeliveryError(405, "this method is not taken here")
    if not _is_genuine(delivery, options.inbound_auth):
        challenge = "" if isinstance(options.inbound_auth, ApiKeyAuth) else 'Basic realm="syncd", charset="UTF-8"'
        raise DeliveryError(401, "the credentials are refused", challenge=challenge)


def delivery_id(delivery: Delivery) -> str:
    """A digest of route, content and day: the same lead tomorrow is a new lead, whatever its encoding.

    Raises `DeliveryError` for a body that cannot be read.
    """
    day = delivery.received_at.astimezone(UTC).date().isoformat()
    head = "\n".join(("/".join(delivery.route), day, "")).encode()
    return hashlib.sha256(head + canonical(attributes_of(delivery))).hexdigest()


def read_delivery(delivery: Delivery, options: RoktOptions) -> Observation:
    """The one observation in a delivery. Raises `DeliveryError(400)` naming the parameter at fault, never its value.

    A lead is in the container of its campaign, or in the account as a whole if it names none.
    """
    attributes = attributes_of(delivery)
    if delivery.route == LEADS:
        _require(attributes, options)
    address, identity = _person(attributes, options)
    if identity is None and delivery.route == LEADS and "email" in options.required:
        raise DeliveryError(400, f"{options.parameters['email']}: not an e-mail address")
    if delivery.route == UNSUBSCRIBES:
        container, status = WHOLE_ACCOUNT, Status.UNSUBSCRIBED
    else:
        campaign = text_of(attributes, options.parameters["campaign"])
        container, status = ContainerId(campaign) if campaign else WHOLE_ACCOUNT, Status.SUBSCRIBED
    return Observation(
        container=container,
        key=identity or address,
        address=address,
        identity=identity,
        status=status,
        fields=fields_of(attributes, options.parameters, delivery.received_at.date()),
        raw=canonical(attributes),
        # Rokt dates nothing, so the moment of arrival stands in: each unsubscribe that arrives is one more "no".
        unsubscribed_at=delivery.received_at.isoformat() if status is Status.UNSUBSCRIBED else None,
    )


def _require(attributes: Attributes, options: RoktOptions) -> None:
    """Refuse a lead that lacks what the account requires, naming everything that it lacks."""
    names = options.parameters
    if lacking := [names[field] for field in options.required if not text_of(attributes, names[field])]:
        raise DeliveryError(400, "; ".join(f"{name}: missing" for name in lacking))


def is_test(delivery: Delivery, options: RoktOptions) -> bool:
    """Whether a lead only tries whether we can be reached. An unsubscribe never does: a "no" is never set aside."""
    if delivery.route != LEADS:
        return False
    tests = options.test_leads
    if tests.query and any(name == tests.query and value.strip().lower() in YES for name, value in delivery.query):
        return True
    attributes = attributes_of(delivery)
    if tests.parameter and text_of(attributes, tests.parameter).lower() == tests.value.lower():
        return True
    address, identity = _person(attributes, options)
    known = {found for one in tests.addresses if (found := read_address(one)) is not None}
    if identity is None:
        return any(address in digests_of(one) for one in known)
    domain = identity.rpartition("@")[2]
    return identity in known or any(
        domain == one or domain.endswith(f".{one}") for one in map(str.lower, tests.domains)
    )


_DIGEST_LENGTHS = {"sha256": 64, "md5": 32}
_HEX = re.compile(r"[0-9a-f]+")


def _person(attributes: Attributes, options: RoktOptions) -> tuple[str, Identity | None]:
    """Address and identity; a person known by digest alone has the address `sha256:…` or `md5:…` and no identity."""
    names = options.parameters
    address = text_of(attributes, names["email"])
    if identity := read_address(address):
        return address, identity
    # E-mail subscription campaigns may give the address hashed (Metadata page of the referral export), under a name of
    # its own or under the usual one. Rokt prints SHA-256 in upper-case hex and MD5 in lower case: case says nothing.
    for algorithm, length in _DIGEST_LENGTHS.items():
        for value in (text_of(attributes, names[f"email_{algorithm}"]), address):
            if len(value) == length and _HEX.fullmatch(value.lower()):
                return f"{algorithm}:{value.lower()}", None
    for algorithm, length in _DIGEST_LENGTHS.items():
        if text_of(attributes, name := names[f"email_{algorithm}"]):
            raise DeliveryError(400, f"{name}: not {length} hexadecimal digits")
    fault = "not an e-mail address" if address else "missing"
    raise DeliveryError(400, f"{names['email']}: {fault}")


def text_of(attributes: Attributes, name: str) -> str:
    value = attributes.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def _is_genuine(delivery: Delivery, auth: BasicAuth | ApiKeyAuth | ClientAuth) -> bool:
    headers = delivery.headers
    match auth:
        case ApiKeyAuth():
            return _is_any(headers.get(auth.header.lower(), ""), each(auth.key))
        case BasicAuth():
            name, secret = _basic(headers)
            return _is_any(name, (auth.username,)) & _is_any(secret, each(auth.password))
        case ClientAuth():
            name, secret = _basic(headers)
            as_basic = _is_any(name, (auth.client_id,)) & _is_any(secret, each(auth.client_secret))
            name = headers.get(auth.client_id_header.lower(), "")
            secret = headers.get(auth.client_secret_header.lower(), "")
            return as_basic | (_is_any(name, (auth.client_id,)) & _is_any(secret, each(auth.client_secret)))


def _is_any(presented: str, known: tuple[str, ...]) -> bool:
    """Whether one of them is meant. All are compared, as digests of one length, so that the time tells nothing."""
    digest = _digest(presented)
    found = False
    for secret in known:
        found |= hmac.compare_digest(digest, _digest(secret))
    return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _basic(headers: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, encoded = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return name, secret
