"""What RocketResponder posts to us when something happens on a list.

Its webhooks page documents seven actions, each with a URL of its own per list, and form fields without an event name, a
list id, a status or a signature. So list, action and a secret are in the path, and a delivery says only "look here".
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qsl, quote

from syncd.domain.errors import DeliveryError
from syncd.domain.records import ContainerId, Delivery, Hint
from syncd.providers.contact_points import read_address

ACTIONS = ("subscribe", "confirm", "unsubscribe", "modify", "bounce", "open", "click")

_FIELDS_MAX = 200  # 18 are documented


def webhook_urls(public_url: str, account: str, list_id: str, secret: str) -> dict[str, str]:
    """The URL to enter at the provider for each action of one list."""
    start = f"{public_url.rstrip('/')}/in/{quote(account, safe='')}/{quote(list_id, safe='')}"
    return {action: f"{start}/{action}/{quote(secret, safe='')}" for action in ACTIONS}


def verify(delivery: Delivery, secrets: Sequence[str]) -> None:
    """Raise `DeliveryError` unless the path is one of `webhook_urls` under one of the secrets."""
    if delivery.method.upper() != "POST":
        raise DeliveryError(405, "webhooks are posted")
    if len(delivery.route) != 3:
        raise DeliveryError(404, "not a webhook path: expected list, action and secret")
    _, action, given = delivery.route
    # Every secret is compared, so that the time tells neither which one matched nor how many there are.
    matches = [hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode("utf-8")) for secret in secrets]
    if not any(matches):
        raise DeliveryError(401, "webhook secret missing or wrong")
    if action not in ACTIONS:
        raise DeliveryError(404, "unknown webhook action")


def delivery_id(delivery: Delivery) -> str:
    """A digest of list, action and fields. Retries repeat the fields; nothing else in a delivery identifies it."""
    try:
        content: object = sorted(_form(delivery))
    except DeliveryError:
        content = delivery.body.hex()
    return hashlib.sha256(json.dumps([delivery.route[:2], content]).encode()).hexdigest()


def read_delivery(delivery: Delivery) -> Sequence[Hint]:
    """The address to look up. Whatever the action, standing is read by a look-up: the fields hold none."""
    address = dict(_form(delivery)).get("Email", "").strip()
    if not address:
        raise DeliveryError(400, "webhook without the field Email")
    if read_address(address) is None:
        return ()
    return (Hint(ContainerId(delivery.route[0]), address, modified=delivery.route[1] == "modify"),)


def _form(delivery: Delivery) -> list[tuple[str, str]]:
    content_type = delivery.headers.get("content-type", "")
    try:
        if content_type.partition(";")[0].strip().lower() == "multipart/form-data":
            return _multipart(content_type, delivery.body)
        return parse_qsl(
            delivery.body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX
        )
    except ValueError:
        raise DeliveryError(400, "webhook body is not a form") from None


def _multipart(content_type: str, body: bytes) -> list[tuple[str, str]]:
    # "POST data" is all that the page says; PHP's curl makes multipart of an array.
    head = f"content-type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    parts = message.get_payload()
    if not isinstance(parts, list) or len(parts) > _FIELDS_MAX:
        raise ValueError("not multipart")
    fields = []
    for part in parts:
        if not isinstance(part, Message):
            raise ValueError("not a part")  # noqa: TRY004 - one kind of error for whatever the body holds
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(value, bytes):
            fields.append((name, value.decode("utf-8")))
    return fields
