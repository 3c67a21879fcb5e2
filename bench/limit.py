"""The hand-written limit: the least that a first pull, or a cycle that finds what changed, can cost in Python here.

limit.py open|first|cycle --url URL --db sqlite:PATH|postgresql://...
  open    start, open the store, end: the start-up
  first   everything into an empty store
  cycle   read everything again, find what changed, came and went, write only that

It knows nothing of providers, persons, consent or faults. A few sockets with one request each in flight (the kernel's
buffers are the prefetch), msgspec over a whole page in C, xxh3 of each record's own bytes, which are kept. Of each page
it keeps a hash of the body, and the ids and hashes of the records; a page whose body is the one of last time is not
parsed. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import socket
import sqlite3
import sys
import time
from array import array
from collections.abc import Iterator

import msgspec
import xxhash


class ObjectId(msgspec.Struct, gc=False):
    oid: str = msgspec.field(name="$oid")


class Contact(msgspec.Struct, gc=False):
    id: ObjectId = msgspec.field(name="_id")
    list_id: str
    email: str
    name: str


class Page(msgspec.Struct):
    data: list[Contact]


class RawPage(msgspec.Struct):
    data: list[msgspec.Raw]


decode_typed = msgspec.json.Decoder(Page).decode
decode_raw = msgspec.json.Decoder(RawPage).decode
hash64 = xxhash.xxh3_64_intdigest
SIGNED = 1 << 63
ID_BYTES = 12


class Parsed:
    """One page: ids, signed hashes, and rows made only for those that are written."""

    def __init__(self, body: memoryview) -> None:
        self.raws, self.contacts = decode_raw(body).data, decode_typed(body).data
        self.ids = [c.id.oid for c in self.contacts]
        self.hashes = array("q", [hash64(raw) - SIGNED for raw in self.raws])
        self.packed = bytes.fromhex("".join(self.ids))

    def row(self, i: int) -> tuple:
        c = self.contacts[i]
        return (c.id.oid, c.list_id, c.email, c.name, str(self.raws[i], "utf-8"), self.hashes[i])

    def rows(self) -> list[tuple]:
        columns = zip(self.contacts, self.raws, self.hashes, strict=True)
        return [(c.id.oid, c.list_id, c.email, c.name, str(raw, "utf-8"), h) for c, raw, h in columns]


class Http:
    """A few kept connections, requests in order, one in flight on each."""

    def __init__(self, url: str, connections: int) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.sockets = []
        for _ in range(connections):
            s = socket.create_connection((host, int(port)))
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            self.sockets.append(s)
        self.buffer = bytearray(1 << 20)
        self.requests, self.token = 0, b""

    def send(self, k: int, path: bytes, body: bytes) -> None:
        self.requests += 1
        head = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
        self.sockets[k].sendall(head % (path, self.token) + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def receive(self, k: int) -> memoryview:
        """The body; the view must be released before the next call."""
        buffer, have, end = self.buffer, 0, -1
        while end < 0:
            have += self._into(k, have, len(buffer))
            end = buffer.find(b"\r\n\r\n", 0, min(have, 2048))
        head = bytes(buffer[:end]).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(head[:80])
        start = end + 4
        stop = start + int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if stop > len(buffer):
            buffer.extend(bytes(stop - len(buffer) + 65536))
        while have < stop:
            have += self._into(k, have, stop)
        return memoryview(buffer)[start:stop]

    def _into(self, k: int, start: int, stop: int) -> int:
        with memoryview(self.buffer) as view:
            got = self.sockets[k].recv_into(view[start:stop])
        if not got:
            raise ConnectionError("the source hung up")
        return got

    def post(self, path: bytes, body: dict) -> dict:
        self.send(0, path, json.dumps(body).encode())
        with self.receive(0) as view:
            return json.loads(bytes(view))

    def login(self) -> None:
        self.token = self.post(b"/auth/accessToken", {"username": "u", "password": "p"})["access_token"].encode()

    def lists(self) -> list[str]:
        return [x["uuid"] for x in self.post(b"/editable-lists/getLists", {"page": 1, "size": 100})["data"]]

    def pages(self, list_id: str, size: int, known: int) -> Iterator[tuple[int, memoryview]]:
        """Each page with its number, asked for ahead; the caller sends True after the last.

        known: how many pages there were last time; none past them is asked for before it is due.
        """
        k = len(self.sockets)

        def ask(number: int) -> None:
            body = b'{"list_id":"%s","page":%d,"size":%d}' % (list_id.encode(), number, size)
            self.send(number % k, b"/editable-lists/getListData", body)

        asked, number = 0, 1
        while True:
            cap = max(known, number) if known else number + k - 1
            while asked < min(number + k - 1, cap):
                asked += 1
                ask(asked)
            body = self.receive(number % k)
            if asked < min(number + k, known or number + k):  # this connection is free: ask before the work on the page
                asked += 1
                ask(asked)
            last = yield number, body
            yield number, body
            body.release()
            if last:
                break
            number += 1
        for late in range(number + 1, asked + 1):  # asked for past the end
            self.receive(late % k).release()


UPSERT = """INSERT INTO contact(id, list_id, email, name, attrs, hash) {} ON CONFLICT(id) DO UPDATE SET
 list_id=excluded.list_id, email=excluded.email, name=excluded.name, attrs=excluded.attrs, hash=excluded.hash"""
COMMIT_ROWS = 10_000


class Sqlite:
    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.execute = self.connection.execute
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536", "temp_store=MEMORY"):
            self.execute(f"PRAGMA {pragma}")
        self.new = not self.execute("SELECT 1 FROM sqlite_master WHERE name='contact'").fetchone()
        if self.new:
            self.execute(
                "CREATE TABLE contact(id TEXT PRIMARY KEY, list_id TEXT NOT NULL, email TEXT NOT NULL, "
                "name TEXT NOT NULL, attrs TEXT NOT NULL, hash INTEGER NOT NULL) WITHOUT ROWID"
            )
            self.execute(
                "CREATE TABLE page(list_id TEXT, no INTEGER, n INTEGER, body BLOB, ids BLOB, hashes BLOB, "
                "PRIMARY KEY(list_id, no)) WITHOUT ROWID"
            )
        self.pending, self.open = 0, False

    def begin(self) -> None:
        if not self.open:
            self.execute("BEGIN IMMEDIATE")
            self.open = True

    def upsert(self, rows: list[tuple]) -> None:
        self.begin()
        self.connection.executemany(UPSERT.format("VALUES(?,?,?,?,?,?)"), rows)
        self.pending += len(rows)
        if self.pending >= COMMIT_ROWS:
            self.commit()

    def delete(self, ids: list[str]) -> None:
        self.begin()
        self.connection.executemany("DELETE FROM contact WHERE id=?", [(i,) for i in ids])

    def known(self, list_id: str) -> dict[int, tuple[bytes, int]]:
        rows = self.execute("SELECT no, body, n FROM page WHERE list_id=?", (list_id,))
        return {no: (body, n) for no, body, n in rows}

    def manifest(self, list_id: str, number: int) -> tuple[bytes, bytes] | None:
        return self.execute("SELECT ids, hashes FROM page WHERE list_id=? AND no=?", (list_id, number)).fetchone()

    def save_page(self, *row: object) -> None:
        self.begin()
        self.execute("INSERT OR REPLACE INTO page VALUES(?,?,?,?,?,?)", row)

    def drop_pages(self, list_id: str, after: int) -> None:
        self.begin()
        self.execute("DELETE FROM page WHERE list_id=? AND no>?", (list_id, after))

    def commit(self) -> None:
        if self.open:
            self.execute("COMMIT")
            self.open, self.pending = False, 0

    def finish(self) -> None:
        self.commit()
        if self.new:  # cheaper once over all rows than row by row
            self.execute("CREATE INDEX contact_list_email ON contact(list_id, email)")
        self.connection.close()


class Postgres:
    def __init__(self, url: str) -> None:
        import psycopg  # noqa: PLC0415 - not part of the limit on SQLite

        self.connection = psycopg.connect(url, autocommit=True)
        self.execute = self.connection.execute
        self.cursor = self.connection.cursor()
        self.new = self.execute("SELECT to_regclass('contact')").fetchone()[0] is None
        if self.new:
            self.execute(
                "CREATE TABLE contact(id text PRIMARY KEY, list_id text NOT NULL, email text NOT NULL, "
                "name text NOT NULL, attrs jsonb NOT NULL, hash bigint NOT NULL)"
            )
            self.execute(
                "CREATE TABLE page(list_id text, no int, n int, body bytea, ids bytea, hashes bytea, "
                "PRIMARY KEY(list_id, no))"
            )
        self.execute("CREATE TEMP TABLE staged(LIKE contact)")
        self.rows: list[tuple] = []
        self.pages: list[tuple] = []

    def upsert(self, rows: list[tuple]) -> None:
        self.rows += rows
        if len(self.rows) >= COMMIT_ROWS:
            self.flush()

    def flush(self) -> None:
        with self.connection.transaction():
            if self.rows and self.new:  # into an empty table: straight
                self.copy("contact")
            elif self.rows:
                self.execute("TRUNCATE staged")
                self.copy("staged")
                self.execute(UPSERT.format("SELECT * FROM staged"))
            if self.pages:
                self.cursor.executemany(
                    "INSERT INTO page VALUES(%s,%s,%s,%s,%s,%s) ON CONFLICT(list_id, no) DO UPDATE SET n=excluded.n, "
                    "body=excluded.body, ids=excluded.ids, hashes=excluded.hashes",
                    self.pages,
                )
        self.rows, self.pages = [], []

    def copy(self, target: str) -> None:
        with self.cursor.copy(f"COPY {target} FROM STDIN") as copy:
            for row in self.rows:
                copy.write_row(row)

    def delete(self, ids: list[str]) -> None:
        self.flush()
        self.execute("DELETE FROM contact WHERE id = ANY(%s)", (ids,))

    def known(self, list_id: str) -> dict[int, tuple[bytes, int]]:
        rows = self.execute("SELECT no, body, n FROM page WHERE list_id=%s", (list_id,), binary=True)
        return {no: (body, n) for no, body, n in rows}

    def manifest(self, list_id: str, number: int) -> tuple[bytes, bytes] | None:
        asked = "SELECT ids, hashes FROM page WHERE list_id=%s AND no=%s"
        return self.execute(asked, (list_id, number), binary=True).fetchone()

    def save_page(self, *row: object) -> None:
        self.pages.append(row)

    def drop_pages(self, list_id: str, after: int) -> None:
        self.flush()
        self.execute("DELETE FROM page WHERE list_id=%s AND no>%s", (list_id, after))

    def finish(self) -> None:
        self.flush()
        if self.new:
            self.execute("CREATE INDEX contact_list_email ON contact(list_id, email)")
        self.connection.close()


class Counts(msgspec.Struct):
    contacts: int = 0
    written: int = 0
    came: int = 0
    went: int = 0
    pages_same: int = 0
    requests: int = 0
    work_s: float = 0.0


def first(http: Http, store: Sqlite | Postgres, size: int, counts: Counts) -> None:
    for list_id in http.lists():
        pages = http.pages(list_id, size, 0)
        for number, body in pages:
            page = Parsed(body)
            if page.ids:
                store.upsert(page.rows())
            store.save_page(
                list_id, number, len(page.ids), xxhash.xxh3_128_digest(body), page.packed, page.hashes.tobytes()
            )
            counts.contacts += len(page.ids)
            counts.written += len(page.ids)
            last = len(page.ids) < size
            del page
            pages.send(last)


class Moves:
    """Records that left one page and records that entered one: moved, new or gone, known only at the end."""

    def __init__(self, store: Sqlite | Postgres, counts: Counts) -> None:
        self.store, self.counts = store, counts
        self.left: dict[str, int] = {}
        self.entered: dict[str, tuple] = {}

    def compare(self, old: tuple[bytes, bytes] | None, page: Parsed | None) -> None:
        """One page now (None: it is no more) against the same page of last time (None: it was not)."""
        if old and page and bytes(old[0]) == page.packed:  # the same ids in the same places
            before = array("q", bytes(old[1]))
            self.changed([page.row(i) for i, h in enumerate(page.hashes) if before[i] != h])
            return
        was = unpack(old) if old else {}
        changed = []
        for i, key in enumerate(page.ids if page else ()):
            before = was.pop(key, None)
            if before is None:
                before = self.left.pop(key, None)
            if before is None:
                self.entered[key] = page.row(i)
            elif before != page.hashes[i]:
                changed.append(page.row(i))
        for key, before in was.items():
            row = self.entered.pop(key, None)
            if row is None:
                self.left[key] = before
            elif row[-1] != before:
                changed.append(row)
        self.changed(changed)

    def changed(self, rows: list[tuple]) -> None:
        if rows:
            self.store.upsert(rows)
            self.counts.written += len(rows)

    def settle(self) -> None:
        self.changed(list(self.entered.values()))
        if self.left:
            self.store.delete(list(self.left))
        self.counts.came += len(self.entered)
        self.counts.went += len(self.left)


def unpack(manifest: tuple[bytes, bytes]) -> dict[str, int]:
    ids, hashes = bytes(manifest[0]).hex(), array("q", bytes(manifest[1]))
    step = 2 * ID_BYTES
    return {ids[step * i : step * (i + 1)]: h for i, h in enumerate(hashes)}


def cycle(http: Http, store: Sqlite | Postgres, size: int, counts: Counts) -> None:
    for list_id in http.lists():
        known = store.known(list_id)
        moves, number = Moves(store, counts), 0
        pages = http.pages(list_id, size, len(known))
        for number, body in pages:
            digest = xxhash.xxh3_128_digest(body)
            had = known.get(number)
            if had and bytes(had[0]) == digest:
                counts.pages_same += 1
                counts.contacts += had[1]
                pages.send(had[1] < size)
                continue
            page = Parsed(body)
            moves.compare(store.manifest(list_id, number) if had else None, page)
            store.save_page(list_id, number, len(page.ids), digest, page.packed, page.hashes.tobytes())
            counts.contacts += len(page.ids)
            last = len(page.ids) < size
            del page
            pages.send(last)
        if len(known) > number:  # the list got shorter by whole pages
            for gone in range(number + 1, len(known) + 1):
                moves.compare(store.manifest(list_id, gone), None)
            store.drop_pages(list_id, number)
        moves.settle()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["open", "first", "cycle"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--db", required=True)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=4)
    asked = parser.parse_args()
    store = Sqlite(asked.db.removeprefix("sqlite:")) if asked.db.startswith("sqlite:") else Postgres(asked.db)
    counts = Counts()
    began = time.perf_counter()
    if asked.what != "open":
        http = Http(asked.url, asked.connections)
        http.login()
        (first if asked.what == "first" else cycle)(http, store, asked.size, counts)
        counts.requests = http.requests
        store.finish()
    counts.work_s = time.perf_counter() - began
    sys.stdout.write(msgspec.json.encode(counts).decode() + "\n")


if __name__ == "__main__":
    main()
