"""H-1, H-9 to H-18 and H-20: what the network does to a call. Real sockets, the real carrier, a proxy between."""

from __future__ import annotations

import asyncio
import errno
import gzip
import socket
import subprocess
import time
import tracemalloc
import zlib
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import certifi
import pytest

from syncd.sync.cycle import run_round
from tests.faults.agreement import converged
from tests.faults.proxy import Kind, Proxy, saying
from tests.faults.wired import DEADLINE_S, Wired
from tests.scenes import (
    JOINED,
    LEFT,
    account,
    agreed,
    calls,
    configured,
    last_run,
    marks,
    names_of,
    operations,
    person,
    standing,
)
from tests.virtual import run
from tests.world import CONFIG

pytestmark = pytest.mark.loopback

TRIES = 3
"""How often the carrier sends what it may repeat."""

P0, P1 = "p0@example.org", "p1@example.org"


def others_learnt(world: Wired, email: str, *, but: str) -> None:
    """A sick provider keeps the no from no other."""
    expected = {name: word for name, word in LEFT.items() if name != but}
    assert {name: word for name, word in standing(world, email).items() if name != but} == expected


# Nobody there --------------------------------------------------------------------------------------------------------


NOBODY = {
    "refused": "the connection was refused",
    "no such name": "the host's name cannot be resolved",
    "no route": "no connection",
}


@pytest.mark.parametrize("how", NOBODY)
def test_h01_no_connection_marks_nothing_as_done_and_keeps_nobody_else_waiting(open_wired, monkeypatch, how):
    world = open_wired(config=CONFIG.replace("127.0.0.1:8701", "localhost:8701"))
    agreed(world, 2)
    world.mail.person_unsubscribes("154", P0)
    resolve, connect = socket.getaddrinfo, socket.socket.connect

    def nameless(host, *given, **more):
        if host in {"localhost", b"localhost"}:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *given, **more)

    def routeless(this, address):
        if address[1] == world.proxies["crm"].port:
            raise OSError(errno.EHOSTUNREACH, "No route to host")
        return connect(this, address)

    world.plug_out("crm")
    if how == "no such name":
        monkeypatch.setattr(socket, "getaddrinfo", nameless)
    if how == "no route":
        monkeypatch.setattr(socket.socket, "connect", routeless)
    for _ in range(3):
        world.wait(300)
        world.round()
        run(world.loop, run_round(world.app.context, pull_first=False))  # which sends without having read before
    assert NOBODY[how] in account(world, "crm")["reason"]
    assert account(world, "crm")["state"] == "failing"
    (op,) = operations(world, account="crm", kind="unsubscribe")
    assert (op["state"], op["attempts"]) == ("ready", 0), "nothing was sent, so nothing counts against it"
    others_learnt(world, P0, but="crm")
    monkeypatch.undo()
    world.plug_in("crm")
    converged(world, p0=LEFT, p1=JOINED)


# The answer is lost --------------------------------------------------------------------------------------------------


def test_h09_an_answer_lost_after_the_effect_is_looked_up_and_nothing_is_done_twice(open_wired):
    world = open_wired()
    agreed(world, 2)
    world.rocs.unsubscribe_member("L-1", P0)
    lost = world.strike("mail", Kind.DROP, "/subscriber/unsubscribe", times=TRIES)
    before = marks(world)
    world.wait(60)
    world.round()
    assert lost.struck == TRIES
    asked = names_of(calls(world, before)["rocketresponder"])
    assert asked[asked.index("unsubscribe") :] == ["unsubscribe"] * TRIES + ["lookup"]
    (op,) = operations(world, account="mail", kind="unsubscribe")
    assert (op["state"], op["attempts"]) == ("verified", 1)
    converged(world, p0=LEFT, p1=JOINED)
    assert world.mail.subscribers["154", P0].unsubscribed == 1


@pytest.mark.parametrize(
    ("kind", "after"), [(Kind.DROP, 0), (Kind.RESET, 40), (Kind.HOLE, 40)], ids=["dropped", "reset", "swallowed"]
)
def test_h10_an_addition_whose_answer_is_lost_is_there_once(open_wired, kind, after):
    world = open_wired(impatient="sales" if kind is Kind.HOLE else "")
    agreed(world)
    person(world, "new@example.org", "New", "Comer")
    world.sales.add_contact(world.sales_list, "too@example.org", "Too Comer")
    reset = (Kind.RESET, 40) if kind is Kind.HOLE else (kind, after)
    struck = [
        world.strike("sales", kind, "/addToList", after=after),
        world.strike("mail", reset[0], "/subscriber/subscribe", after=reset[1]),
        world.strike("crm", reset[0], "POST /customers", after=reset[1]),
    ]
    world.wait(60)
    world.round()
    assert [one.struck for one in struck] == [1, 1, 1]
    converged(world, p0=JOINED, new=JOINED, too=JOINED)
    made = [call for name in ("salesrocks", "rocs") for call in calls(world)[name] if call.write and call.status == 200]
    assert sum(b"too@example.org" in call.body and call.path == "/customers" for call in made) == 1
    assert sum(b"new@example.org" in call.body and call.path.endswith("/addToList") for call in made) == 1


def test_h11_a_reset_in_the_middle_of_an_answer_is_no_answer(open_wired):
    world = open_wired()
    agreed(world, 8)
    known = world.rows("SELECT account, container, key, status FROM cell ORDER BY 1, 2, 3")
    read = world.strike("crm", Kind.RESET, "GET /customers", after=700, times=TRIES)
    world.wait(60)
    assert [outcome.name for outcome in world.round(["crm"], full=True).failed] == ["crm"]
    assert read.struck == TRIES
    assert world.rows("SELECT account, container, key, status FROM cell ORDER BY 1, 2, 3") == known
    written = world.strike("crm", Kind.RESET, "PUT /lists/L-1/members/", after=60, times=TRIES)
    world.mail.person_unsubscribes("154", P0)
    world.wait(60)
    world.round()
    assert written.struck == TRIES
    converged(world, p0=LEFT, p1=JOINED)


def test_h12_an_answer_that_stops_in_the_middle_ends_at_the_deadline_of_the_whole_call(open_wired):
    world = open_wired(impatient="sales")
    agreed(world, 4)
    hole = world.strike("sales", Kind.HOLE, "/getListData", after=300, times=TRIES)
    world.mail.person_unsubscribes("154", P0)
    world.wait(60)
    world.round()
    assert hole.struck >= 1
    assert f"no whole answer within {DEADLINE_S} s" in account(world, "sales")["reason"]
    others_learnt(world, P0, but="sales")
    converged(world, p0=LEFT, p1=JOINED)


def test_h13_a_kept_connection_that_died_is_repeated_for_a_read_and_looked_up_for_a_write(open_wired):
    world = open_wired()
    agreed(world)
    read = world.strike("crm", Kind.HANG_UP, "GET /lists")
    write = world.strike("sales", Kind.HANG_UP, "/addToList")
    again = world.strike("mail", Kind.HANG_UP, "/subscriber/subscribe")
    person(world, "new@example.org", "New", "Comer")
    before = marks(world)
    assert world.round().failed == []
    assert (read.struck, write.struck, again.struck) == (1, 1, 1)
    assert "addToList" not in names_of(calls(world, before)["salesrocks"]), "not sent again by itself"
    assert operations(world, account="sales", identity="new@example.org")[0]["state"] == "unknown"
    converged(world, p0=JOINED, new=JOINED)
    assert names_of(calls(world, before)["salesrocks"]).count("addToList") == 1


def test_h14_an_answer_in_drips_ends_at_the_deadline_of_the_whole_call(open_wired):
    world = open_wired(impatient="mail")
    agreed(world, 2)
    drip = world.strike("mail", Kind.DRIP, "/list/all", pause_s=DEADLINE_S / 6, times=TRIES)
    world.rocs.unsubscribe_member("L-1", P0)
    world.wait(60)
    began = time.monotonic()
    world.round()
    assert drip.struck >= 1
    assert time.monotonic() - began < 25, "at this pace the answer would take half a minute"
    assert f"no whole answer within {DEADLINE_S} s" in account(world, "mail")["reason"]
    others_learnt(world, P0, but="mail")
    converged(world, p0=LEFT, p1=JOINED)


# Answers that are not to be believed ---------------------------------------------------------------------------------


def test_h15_a_bomb_is_dropped_before_it_is_unpacked_and_so_is_what_is_too_long_or_never_ends(open_wired):
    world = open_wired(config=configured(crm="answer_bytes_max = 65536"))
    agreed(world, 2)
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    size = 200 * 1024 * 1024
    packed = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(200)) + packer.flush()
    answers = {
        "bomb": saying("200 OK", packed, content_type="application/json", content_encoding="gzip"),
        "twice": saying("200 OK", gzip.compress(gzip.compress(b"[]")), content_encoding="gzip, gzip"),
        "long": saying("200 OK", b"[" + b" " * 100_000, content_type="application/json"),
        "endless": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[",
    }
    for what, said in answers.items():
        kind = Kind.FLOOD if what == "endless" else Kind.SAY
        world.strike("crm", kind, "GET /customers", said=said)
        world.wait(60)
        tracemalloc.start()
        assert [outcome.name for outcome in world.round().failed] == ["crm"]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < size / 2, "one read from the socket is unpacked at a time"
        told = "compressed more than once" if what == "twice" else "larger than 65536 bytes"
        assert told in last_run(world, "crm")["reason"]
    converged(world, p0=JOINED, p1=JOINED)


def test_h16_no_redirect_is_followed_and_credentials_stay_with_the_configured_host(open_wired):
    world = open_wired()
    agreed(world, 2)
    elsewhere = Proxy()
    run(world.loop, elsewhere.plug_in())
    places = [
        f"{elsewhere.address}/customers",
        f"http://localhost:{elsewhere.port}/customers",
        "http://169.254.169.254/latest/meta-data",
        "https://rocs.example/customers",
        f"{world.proxies['crm'].address}/customers?hop=1",
    ]
    before = marks(world)
    for place, status in zip(places, ("301 Moved", "302 Found", "303 See Other", "307 Kept", "308 Kept"), strict=True):
        said = world.strike("crm", Kind.SAY, "GET /customers", said=saying(status, location=place))
        world.wait(60)
        assert [outcome.name for outcome in world.round().failed] == ["crm"]
        assert "redirects are not followed" in last_run(world, "crm")["reason"]
        assert said.struck == 1, "and not asked for again"
    world.strike("sales", Kind.SAY, "/auth/accessToken", said=saying("307 Kept", location=elsewhere.address))
    world.sales.revoke_tokens()
    world.wait(60)
    world.round()
    assert elsewhere.connections == 0
    assert not [call for call in calls(world, before)["rocs"] if "hop" in call.path]
    run(world.loop, elsewhere.plug_out())
    converged(world, p0=JOINED, p1=JOINED)


# TLS -----------------------------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority of this test alone, and what it signed."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.certificate = folder / f"{name}.pem"
        made = ["-x509", "-days", "2", "-subj", f"/CN={name}", "-out", str(self.certificate)]
        self._openssl("req", *self._new_key(name), *made, "-addext", "basicConstraints=critical,CA:TRUE")

    def server(self, name: str, host: str = "IP:127.0.0.1", days: str = "2") -> SSLContext:
        request, signed, extra = (self.folder / f"{name}.{end}" for end in ("csr", "crt", "ext"))
        extra.write_text(f"subjectAltName={host}\n")
        self._openssl("req", *self._new_key(name), "-subj", f"/CN={name}", "-out", str(request))
        issued = ["-CA", str(self.certificate), "-CAkey", str(self.folder / f"{self.name}.key"), "-CAcreateserial"]
        self._openssl("x509", "-req", "-in", str(request), *issued, "-extfile", str(extra), "-days", days,
                      "-out", str(signed))  # fmt: skip
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(signed, self.folder / f"{name}.key")
        return context

    def _new_key(self, name: str) -> list[str]:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        return [*curve, "-keyout", str(self.folder / f"{name}.key")]

    @staticmethod
    def _openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def test_h17_a_certificate_that_does_not_hold_is_refused_and_named(open_wired, monkeypatch, tmp_path):
    ours, stranger = Authority(tmp_path, "ours"), Authority(tmp_path, "stranger")
    good = ours.server("good")
    # What a machine trusts is its own affair: here it is one authority more.
    monkeypatch.setattr(certifi, "where", lambda: str(ours.certificate))
    world = open_wired(config=CONFIG.replace("http://127.0.0.1:8701", "https://127.0.0.1:8701"), tls={"crm": good})
    agreed(world, 2)
    world.mail.person_unsubscribes("154", P0)
    faults: dict[str, tuple[Any, str]] = {
        "expired": (ours.server("expired", days="-1"), "TLS: certificate has expired"),
        "another host": (ours.server("elsewhere", host="DNS:rocs.example"), "TLS: IP address mismatch"),
        "unknown authority": (stranger.server("unknown"), "TLS: unable to get local issuer certificate"),
        "no TLS at all": (None, "TLS: "),
    }
    for what, (context, said) in faults.items():
        world.plug_out("crm")
        world.proxies["crm"].tls = context
        world.proxies["crm"].greeting = b"" if context else saying("400 Bad Request")
        world.plug_in("crm")
        before = marks(world)
        world.wait(60)
        world.round()
        assert said in account(world, "crm")["reason"], what
        assert calls(world, before)["rocs"] == [], "nothing was sent"
    others_learnt(world, P0, but="crm")
    world.plug_out("crm")
    world.proxies["crm"].tls, world.proxies["crm"].greeting = good, b""
    world.plug_in("crm")
    converged(world, p0=LEFT, p1=JOINED)


# Load, and what surrounds us -----------------------------------------------------------------------------------------


def test_h18_a_very_slow_provider_gets_one_call_at_a_time_and_slows_no_other(open_wired):
    world = open_wired(max_count=1000)
    agreed(world, 2)
    for number in range(12):
        world.sales.add_contact(world.sales_list, f"new{number}@example.org", f"New Comer{number}")
    world.strike("crm", Kind.DELAY, pause_s=0.02, times=1_000_000)
    world.rokt.person_unsubscribes(P0)
    before = marks(world)
    world.wait(60)
    world.deliver()

    async def crowded() -> None:
        errands = [run_round(world.app.context, pull_first=False, patient=False) for _ in range(5)]
        await asyncio.gather(run_round(world.app.context), *errands)

    run(world.loop, crowded())
    seen = calls(world, before)
    assert world.proxies["crm"].most_at_once == 1
    told = next(call.at for call in seen["rocketresponder"] if call.path.endswith("/unsubscribe"))
    assert told < max(call.at for call in seen["rocs"]), "it did not wait for the slow one"
    world.proxies["crm"].mishaps.clear()
    converged(world, p0=LEFT, p1=JOINED)
    assert [standing(world, f"new{number}@example.org") for number in range(12)] == [JOINED] * 12


def test_h20_proxies_and_passwords_out_of_the_environment_are_not_used(open_wired, monkeypatch, tmp_path):
    trap = Proxy()
    home = tmp_path / "home"
    home.mkdir()
    (home / ".netrc").write_text("default login somebody password else\n")
    (home / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / ".netrc"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, trap.address)
        monkeypatch.setenv(name.lower(), trap.address)
    monkeypatch.setenv("NO_PROXY", "")
    world = open_wired()
    run(world.loop, trap.plug_in())
    agreed(world, 2)
    world.mail.person_unsubscribes("154", P0)
    converged(world, p0=LEFT, p1=JOINED)
    assert trap.connections == 0
    assert not {call.status for entries in calls(world).values() for call in entries} & {400, 401, 403, 407}
    run(world.loop, trap.plug_out())
