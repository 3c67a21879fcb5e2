"""A fast source for the benchmark: N contacts in Sales.Rocks' shapes on 127.0.0.1, with seeded changes and counters.

Pages are rendered ahead of the requests, so that a request costs this server one look-up and one write, and what is
measured is the reader. Everything follows from --seed and the order of the /_bench calls.

As Sales.Rocks (POST, JSON): /auth/accessToken, /editable-lists/getLists, /editable-lists/getListData,
/search/getListNameAndIds (no campaigns), /drip-campaign/getCampaignStatistics (none: 404).

For the benchmark:
  GET  /_bench/stats     requests since the last reset by path, and the ids of the lists
  POST /_bench/reset     counters to 0
  POST /_bench/mutate    {"fraction": 0.01}: so many of the contacts of each list change, spread evenly by chance
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random

# fmt: off
FIRST = [
    "Ana", "Bojan", "Carla", "Dimitar", "Elena", "Filip", "Goran", "Hana", "Ivan", "Jana", "Kiril", "Lena",
    "Marko", "Nina", "Oskar", "Petra", "Rade", "Sara", "Tomas", "Vera",
]
LAST = [
    "Novak", "Petrov", "Garcia", "Ilievski", "Marin", "Horvat", "Stojan", "Kovac", "Weber", "Rossi", "Silva",
    "Jensen", "Dubois", "Costa", "Nagy", "Popa", "Moreau", "Lind", "Berg", "Ruiz",
]
CITY = ["Skopje", "Rotterdam", "Lisbon", "Lyon", "Porto", "Graz", "Turin", "Ghent", "Malmo", "Brno", "Split", "Bari"]
COUNTRY = ["MK", "NL", "PT", "FR", "PT", "AT", "IT", "BE", "SE", "CZ", "HR", "IT"]
TITLE = ["Head of Marketing", "CEO", "Sales Manager", "Buyer", "CTO", "Growth Lead", "Office Manager", "Analyst"]
# fmt: on
M64 = (1 << 64) - 1


def mix(x: int) -> int:
    """splitmix64: a number that looks random and is the same on every machine."""
    x = (x + 0x9E3779B97F4A7C15) & M64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & M64
    return x ^ (x >> 31)


def render(seed: int, i: int, version: int, list_id: str) -> bytes:
    """Contact number i; another version has another job title and score, as an edit in a CRM does."""
    h = mix((seed << 40) ^ i)
    # like a Mongo ObjectId: seconds, machine, counter: ascending in the order of insertion
    oid = f"{0x610293B8 + i // 50:08x}{mix(seed) & 0xFFFFFFFFFF:010x}{i & 0xFFFFFF:06x}"
    first, last, place = FIRST[h % 20], LAST[(h >> 8) % 20], (h >> 16) % 12
    name = f"{first} {last}" if h & 0x1F else f"{first} \u0160{last[1:]}"  # some beyond ASCII
    return (
        f'{{"_id":{{"$oid":"{oid}"}},"name":"{name}",'
        f'"email":"{first.lower()}.{last.lower()}{i}@example{h % 997}.com",'
        f'"list_id":"{list_id}","company":"{last} & {LAST[(h >> 40) % 20]} Ltd {h % 5000}",'
        f'"job_title":"{TITLE[((h >> 24) + version) % 8]}","phone":"+389{(h >> 20) % 100000000:08d}",'
        f'"city":"{CITY[place]}","country":"{COUNTRY[place]}",'
        f'"linkedin":"https://www.linkedin.com/in/{first.lower()}-{last.lower()}-{h % 1000000}",'
        f'"lead_score":{((h >> 32) + version * 7) % 100},"subscribed":{"true" if h & 0x300 else "false"}}}'
    ).encode()


def reply(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def refusal(code: int, message: str, status: bytes) -> bytes:
    return reply(json.dumps({"error": {"status_code": code, "message": message}}).encode(), status)


UNAUTHORISED = refusal(401, "Unauthorized", b"401 Unauthorized")
BAD = refusal(400, "Invalid request body", b"400 Bad Request")
NOT_FOUND = refusal(404, "Not Found", b"404 Not Found")
READ = b'{"status":"success","status_code":200,"message":"%s","data":['


class Source:
    """The contacts and their rendered pages."""

    def __init__(self, contacts: int, lists: int, seed: int, size: int) -> None:
        self.seed, self.size, self.cycle = seed, size, 0
        self.list_ids = [f"list{mix(seed + k) & 0xFFFFFFFF:08x}" for k in range(lists)]
        self.records: dict[str, list[bytes]] = {}
        self.first: dict[str, int] = {}
        each = -(-contacts // lists)
        for k, list_id in enumerate(self.list_ids):
            numbers = range(k * each, min((k + 1) * each, contacts))
            self.first[list_id] = numbers.start
            self.records[list_id] = [render(seed, i, 0, list_id) for i in numbers]
        self.version: dict[tuple[str, int], int] = {}
        self.pages: dict[tuple[str, int, int], bytes] = {}
        self.render_pages()

    def render_pages(self) -> None:
        for list_id, records in self.records.items():
            for number in range(1, len(records) // self.size + 2):
                self.page(list_id, number, self.size)

    def page(self, list_id: str, number: int, size: int) -> bytes:
        key = (list_id, number, size)
        answer = self.pages.get(key)
        if answer is None:
            records = self.records.get(list_id)
            if records is None:
                return NOT_FOUND
            body = b",".join(records[(number - 1) * size : number * size])
            answer = reply(READ % b"List data was successfully read." + body + b"]}")
            if size == self.size:
                self.pages[key] = answer
        return answer

    def lists(self, number: int, size: int) -> bytes:
        rows = [
            {
                "id": str(26454 + k),
                "user_id": "634",
                "company_id": "333",
                "uuid": list_id,
                "type": "editable",
                "name": f"List number {k + 1}",
                "permissions": "private",
                "created_at": "2021-05-07 10:28:26",
                "updated_at": "2021-05-10 17:14:24",
            }
            for k, list_id in enumerate(self.list_ids)
        ]
        shown = json.dumps(rows[(number - 1) * size : number * size]).encode()
        return reply(READ % b"Lists were successfully read." + shown[1:] + b"}")

    def lists_with_campaigns(self) -> bytes:
        rows = [
            {
                "id": 26454 + k,
                "list_name": f"List number {k + 1}",
                "date_of_creation": "2021-05-07 10:28:26",
                "campaigns": [],
            }
            for k in range(len(self.list_ids))
        ]
        return reply(json.dumps(rows).encode())

    def mutate(self, fraction: float) -> int:
        """How many contacts changed."""
        self.cycle += 1
        rng = random.Random(f"{self.seed}/{self.cycle}")
        changed = 0
        for list_id, records in self.records.items():
            for i in rng.sample(range(len(records)), round(len(records) * fraction)):
                version = self.version[list_id, i] = self.version.get((list_id, i), 0) + 1
                records[i] = render(self.seed, self.first[list_id] + i, version, list_id)
                self.pages.pop((list_id, i // self.size + 1, self.size), None)
                changed += 1
        self.render_pages()
        return changed


class Service:
    """Which call is answered with what; counts."""

    def __init__(self, source: Source, latency: float) -> None:
        self.source, self.latency = source, latency
        self.requests: dict[str, int] = {}

    def handle(self, path: str, head: bytes, body: bytes) -> bytes:
        if path.startswith("/_bench/"):
            return self.bench(path.removeprefix("/_bench/"), body)
        self.requests[path] = self.requests.get(path, 0) + 1
        if path == "/auth/accessToken":
            return reply(b'{"access_token":"bench-token","token_type":"Bearer","expires_in":3600}')
        if b"authorization: bearer bench-token" not in head:
            return UNAUTHORISED
        try:
            asked = json.loads(body)
            if path == "/editable-lists/getListData":
                return self.source.page(asked["list_id"], *window(asked))
            if path == "/editable-lists/getLists":
                return self.source.lists(*window(asked))
            if path == "/search/getListNameAndIds":
                return self.source.lists_with_campaigns() if asked["email"] else BAD
        except (ValueError, KeyError, TypeError):
            return BAD
        return NOT_FOUND

    def bench(self, what: str, body: bytes) -> bytes:
        if what == "stats":
            shown = {"requests": self.requests, "lists": self.source.list_ids}
            return reply(json.dumps(shown).encode())
        if what == "reset":
            self.requests = {}
            return reply(b"{}")
        if what == "mutate":
            return reply(json.dumps({"changed": self.source.mutate(json.loads(body)["fraction"])}).encode())
        return NOT_FOUND


def window(asked: dict) -> tuple[int, int]:
    number, size = int(asked["page"]), int(asked["size"])
    if number < 1 or size < 1:
        raise ValueError
    return number, size


class Http(asyncio.Protocol):
    """As much HTTP/1.1 as our own two readers speak: keep-alive, and bodies of a stated length."""

    def __init__(self, service: Service) -> None:
        self.service, self.buffer = service, b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer + data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            path = buffer.split(b" ", 2)[1].decode()
            head = buffer[:end].lower()
            _, _, stated = head.partition(b"content-length:")
            length = int(stated.split(b"\r\n", 1)[0] or 0)
            if len(buffer) < end + 4 + length:
                break
            body, buffer = buffer[end + 4 : end + 4 + length], buffer[end + 4 + length :]
            answer = self.service.handle(path, head, body)
            if self.service.latency and not path.startswith("/_bench/"):
                asyncio.get_running_loop().call_later(self.service.latency, self.transport.write, answer)
            else:
                self.transport.write(answer)
        self.buffer = buffer


async def serve(service: Service, port: int, at_most: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Http(service), "127.0.0.1", port, backlog=256)
    print(json.dumps({"port": server.sockets[0].getsockname()[1], "pid": os.getpid()}), flush=True)
    await asyncio.sleep(at_most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--lists", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--size", type=int, default=1000, help="of the pages rendered ahead; others are made when asked"
    )
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--max-seconds", type=float, default=7200, help="ends by itself after this long")
    asked = parser.parse_args()
    service = Service(Source(asked.contacts, asked.lists, asked.seed, asked.size), asked.latency_ms / 1000)
    gc.disable()  # nothing here makes cycles; a collection over all contacts would land in somebody's measurement
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(service, asked.port, asked.max_seconds))


if __name__ == "__main__":
    main()
