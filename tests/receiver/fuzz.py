"""schemathesis at the door: every operation of its description, with what fits and what does not.

`python -m tests.receiver.fuzz --cases 10000` (`make fuzz`) goes on until so many cases were answered, prints how many
there were and how many were answered with 5xx, and ends with 1 if any was. `tests/test_described.py` holds a few of
each to the description as well.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hmac
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings

from syncd.receiver import document_path
from syncd.wire import Request
from tests.receiver.door import FORMED, Door
from tests.world import quiet

DOCUMENT: dict[str, Any] = json.loads(document_path().read_bytes())
ROUTES = [(path, name) for path, item in DOCUMENT["paths"].items() for name in item if name != "parameters"]
FILLED = {
    "/in/{account}/leads": {"account": "leads"},
    "/in/{account}/unsubscribes": {"account": "leads"},
    "/in/{account}/webhook": {"account": "crm"},
    "/in/{account}/{list}/{action}/{secret}": {"account": "mail", "list": "154", "secret": "mail/hook+1"},
    "/subscribe/{list}": {"list": "newsletter"},
}
ROUND = 40
"""Cases of one operation in a row."""

# A minute's worth is used up at once here, and 429 is an answer like any other: not the only one that is wanted.
UNLIMITED = dict.fromkeys(
    [f"SYNCD_RECEIVER__{kind}_PER_MINUTE" for kind in ("LEADS", "NOTICES", "UNSUBSCRIBES", "REFUSED", "LINKS")]
    + ["SYNCD_SUBSCRIBE_FORM__SENDS_PER_MINUTE", "SYNCD_SUBSCRIBE_FORM__QUEUE_MAX"],
    "1000000",
)

OPERATOR_TOKEN = "a-token-for-the-operator"


@cache
def described() -> Any:
    import schemathesis

    return schemathesis.openapi.from_dict(DOCUMENT)


def request_of(case: Any, base: str) -> Request:
    import requests

    sent = requests.Request(**case.as_transport_kwargs(base_url=base)).prepare()
    body: Any = sent.body or b""
    headers = {str(name).lower(): str(value) for name, value in sent.headers.items()}
    return Request(str(sent.method), str(sent.url), headers, body.encode() if isinstance(body, str) else body)


class Answering:
    """A door that is asked case by case, each with proof of who sends it, so that it gets past the door."""

    def __init__(self, door: Door, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tokens = door.tokens()
        self._client = door.client()
        loop.run_until_complete(self._client.post("/login", data={"operator_token": OPERATOR_TOKEN}))
        assert self._client.cookies, "an operator is logged in"

    def filled(self, path: str) -> dict[str, str]:
        """What stands in a path, where not anything may."""
        return FILLED.get(path) or ({"token": self._tokens[path]} if path in self._tokens else {})

    def answer(self, case: Any) -> httpx.Response:
        request = request_of(case, "http://localhost")
        signature = hmac.new(b"hook-secret", request.body, sha256).hexdigest()
        basic = base64.b64encode(b"rokt:rokt-secret").decode()
        proofs = {"authorization": f"Basic {basic}", "x-rocs-signature": f"sha256={signature}"}
        sending = self._client.request(
            request.method, request.url, headers={**request.headers, **proofs}, content=request.body
        )
        return self._loop.run_until_complete(sending)


@contextmanager
def answering(folder: Path, url: str) -> Iterator[Answering]:
    environ = {**UNLIMITED, "SYNCD_RECEIVER__OPERATOR_TOKEN": OPERATOR_TOKEN}
    door, loop = Door(url, folder, config=FORMED, **environ), asyncio.new_event_loop()
    yield Answering(door, loop)
    loop.run_until_complete(door.app.aclose())
    loop.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.receiver.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    quiet()
    began, statuses, broken, number = time.monotonic(), Counter[int](), list[str](), asked.seed
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as folder,
        answering(Path(folder), f"sqlite:///{folder}/mirror.db") as door,
    ):
        while statuses.total() < asked.cases:
            for path, method in ROUTES:
                _drive(door, path, method, number, statuses, broken)
            number += 1
            sys.stderr.write(f"{statuses.total()} cases, {len(broken)} with 5xx\n")
    for line in broken[:20]:
        sys.stdout.write(f"{line}\n")
    answers = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
    sys.stdout.write(
        f"{statuses.total()} cases over {len(ROUTES)} operations in {time.monotonic() - began:.0f} s ({answers}); "
        f"answered with 5xx: {len(broken)}\n"
    )
    return 1 if broken else 0


def _drive(door: Answering, path: str, method: str, number: int, statuses: Counter[int], broken: list[str]) -> None:
    from schemathesis import GenerationMode

    operation = described()[path][method]
    filled = door.filled(path)

    def once(case: Any) -> None:
        status = door.answer(case).status_code
        statuses[status] += 1
        if status >= 500:
            broken.append(f"{method.upper()} {path} answered {status}: {case.as_curl_command()}")

    modes = [GenerationMode.POSITIVE]
    if operation.body or operation.query or {one.name for one in operation.path_parameters} - set(filled):
        modes.append(GenerationMode.NEGATIVE)
    few = settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for mode in modes:
        strategy = operation.as_strategy(generation_mode=mode, path_parameters=filled)
        seed(number)(few(given(case=strategy)(once)))()


if __name__ == "__main__":
    sys.exit(main())
