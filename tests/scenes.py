"""Scenes that whole-system tests begin with, and what they look at afterwards."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import structlog

from syncd.app import Outside
from syncd.cli import main
from syncd.domain.identity import Identity
from syncd.emulators.emulator import Call
from tests.world import CONFIG, World, hasty, quiet

Open = Callable[..., World]
"""Opens a world that is closed when the test ends; takes what `World` takes."""

DAY = 86_400.0
IN = "http://127.0.0.1:8480/in"

EVENTS = "EventsAtSalesRocks01"
OTHERS = "OthersAtSalesRocks01"

TWO_LISTS = (
    CONFIG
    + f"""
[lists.events]
crm = "L-2"
sales = "{EVENTS}"
mail = "155"
"""
)

QUERY_API = """
query_url = "http://127.0.0.1:8704/v1/query"
query_token_url = "http://127.0.0.1:8704/auth/oauth2/token"
app_id = "rokt-app"
app_secret = "rokt-app-secret"
account_id = "2581697744617019994"
"""


PARTNER = """
[accounts.partner]
provider = "http"
endpoint = "http://127.0.0.1:8705/subscribers"
test_endpoint = "http://127.0.0.1:8705/test/subscribers"
auth = {{ kind = "api_key", key = "http-key" }}
"""
"""An outbound connection. Lines of its own table may follow."""


def configured(config: str = CONFIG, **sections: str) -> str:
    """A configuration with lines added to tables: `guard="release_after = '1h'"`, `crm="timeout = 5"`."""
    for name, lines in sections.items():
        accounts = {"crm", "sales", "mail", "leads"}
        head = f"[accounts.{name}]" if name in accounts else f"[{name}]"
        if head in config:
            config = config.replace(head, f"{head}\n{lines}")
        else:
            config += f"\n{head}\n{lines}\n"
    return config


def without(config: str, *lines: str) -> str:
    for line in lines:
        assert f"\n{line}\n" in config, line
        config = config.replace(f"\n{line}\n", "\n")
    return config


# Who is where --------------------------------------------------------------------------------------------------------


def person(
    world: World, email: str, first: str = "Ann", last: str = "Bee", *, lists: Iterable[str] = ("L-1",), **more: Any
) -> str:
    """A customer at ROCS who is on these lists there; returns the id."""
    customer = world.rocs.add_customer(email, first, last, **more)
    for list_id in lists:
        world.rocs.add_member(list_id, customer)
    return customer


def people(world: World, count: int, prefix: str = "p") -> dict[str, str]:
    """Several of them: id by address."""
    return {
        email: person(world, email, f"First{n}", f"Last{n}")
        for n in range(count)
        for email in [f"{prefix}{n}@example.org"]
    }


def agreed(world: World, count: int = 1) -> list[str]:
    """Several people who are on the newsletter everywhere."""
    emails = list(people(world, count))
    world.settle(2)
    assert [standing(world, email) for email in emails] == [JOINED] * count
    return emails


def with_two_lists(world: World) -> World:
    """Two lists of ours everywhere but at Rokt, and one at each that the configuration does not name."""
    world.rocs.add_list("L-2", "Events")
    world.rocs.add_list("L-9", "Others")
    world.sales.add_list("Events", EVENTS)
    world.sales.add_list("Others", OTHERS)
    world.mail.add_list("Events", lid="155")
    world.mail.add_list("Others", lid="199")
    return world


def notices(world: World) -> None:
    """ROCS and RocketResponder tell us what happens there."""
    world.rocs.register_webhook(f"{IN}/crm/webhook", "hook-secret")
    for lid in world.mail.lists:
        for action in ("subscribe", "confirm", "unsubscribe", "modify", "bounce", "open", "click"):
            world.mail.webhook_urls[lid, action] = f"{IN}/mail/{lid}/{action}/mail-hook"


def member(world: World, email: str, list_id: str = "L-1") -> str | None:
    """The word that ROCS has for somebody on a list."""
    members = world.rocs.lists[list_id].members.values()
    return next((one.status for one in members if one.email.lower() == email.lower()), None)


def consent(world: World, email: str) -> list[bool]:
    return [one.consent for one in world.rocs.customers.values() if one.email.lower() == email.lower()]


def contacts(world: World, email: str, list_uuid: str | None = None) -> list[dict[str, Any]]:
    """Rows of somebody at Sales.Rocks."""
    rows = world.sales.contacts_of(list_uuid or world.sales_list)
    return [row for row in rows if str(row.get("email", "")).lower() == email.lower()]


def listing_hides(world: World, hidden: Callable[[str], bool] = lambda _: False) -> None:
    """Listings of Sales.Rocks leave these addresses out, from now on; by its id a contact can still be asked for."""
    shown = type(world.sales)._rows
    world.sales._rows = lambda entry: [  # type: ignore[method-assign]
        row for row in shown(world.sales, entry) if not hidden(str(row[1].get("email")))
    ]


def subscriber(world: World, email: str, lid: str = "154") -> str | None:
    """The word that RocketResponder has for somebody on a list."""
    found = world.mail.subscriber(lid, email)
    return None if found is None else found.status


def standing(world: World, email: str) -> dict[str, Any]:
    """How somebody stands on the newsletter at each provider, in its own word."""
    rows = contacts(world, email)
    return {
        "crm": member(world, email),
        "sales": [str(row.get("status", "listed")) for row in rows],
        "mail": subscriber(world, email),
        "leads": "told" if email.lower() in world.rokt.unsubscribed else None,
    }


JOINED = {"crm": "subscribed", "sales": ["listed"], "mail": "Confirmed", "leads": None}
LEFT = {"crm": "unsubscribed", "sales": [], "mail": "Unsubscribed", "leads": "told"}


# Who comes back, and who changes their address ----------------------------------------------------------------------

CID = Identity("cid@example.org")


def gone(world: World, email: str = CID) -> None:
    """Somebody who was everywhere, said no to everything at Rokt, and is verified unsubscribed everywhere."""
    notices(world)
    person(world, email, "Cid", "Cee")
    world.settle(2)
    assert standing(world, email) == JOINED
    world.rokt.person_unsubscribes(email)
    world.settle(2)
    assert standing(world, email) == LEFT
    world.wait(600)


def comes_back(world: World, email: str = CID) -> None:
    """They enter their address in the form of the list, and confirm it in a mail."""
    world.mail.person_joins_again("154", email)
    world.mail.confirm("154", email)


def changes_address(world: World, old: str, new: str, **more: Any) -> None:
    """Somebody who is everywhere enters another address at RocketResponder, and has yet to confirm it."""
    notices(world)
    person(world, old, "Olga", "Old", **more)
    world.settle(2)
    assert standing(world, old) == JOINED
    world.wait(600)
    world.mail.person_changes_address("154", old, new)
    world.settle(2)
    world.wait(3600)


# Who is erased -------------------------------------------------------------------------------------------------------

DORA = "dora@example.org"
SPELT = "Dora@Example.org"
TAGGED = "dora+news@example.org"
PHONE = "+46701234567"


def known_everywhere(world: World) -> None:
    """Dora as each provider spells her, on every list and with a history, and Bob, who must not be touched."""
    notices(world)
    person(world, SPELT, "Dora", "Deer", mobile=PHONE)
    person(world, "bob@example.org", "Bob", "Deer")
    world.sales.add_contact(world.sales_list, DORA, "Dora Deer", phone=PHONE)
    world.mail.add_subscriber("154", TAGGED, "Dora Deer")
    world.settle()
    world.mail.webhook_urls["154", "open"] = f"{IN}/mail/154/open/mail-hook"
    world.mail.open_mail("154", TAGGED)
    world.rokt.send_lead(DORA, "Dora", "Deer", mobile=PHONE)
    world.rokt.send_lead("bob@example.org", "Bob", "Deer", encoding="form")
    world.settle()


def stands_nowhere(world: World) -> bool:
    """Whether Dora can be mailed by nobody, under any spelling."""
    rows = [row for row in world.sales.contacts_of(world.sales_list) if str(row["email"]).lower().startswith("dora")]
    words = [one.status for one in world.rocs.lists["L-1"].members.values() if one.email.lower() == DORA]
    told = DORA in world.rokt.unsubscribed
    return not rows and set(words) == {"unsubscribed"} and subscriber(world, TAGGED) == "Unsubscribed" and told


# What was called and written -----------------------------------------------------------------------------------------


def marks(world: World) -> dict[str, int]:
    """How many calls each provider has had so far; for `calls` and `written`."""
    return {name: len(emulator.calls) for name, emulator in world.emulators.items()}


def calls(world: World, since: Mapping[str, int] | None = None) -> dict[str, list[Call]]:
    """Calls by the name of the provider."""
    return {e.name: e.calls[(since or {}).get(name, 0) :] for name, e in world.emulators.items()}


def written(world: World, since: Mapping[str, int] | None = None) -> list[tuple[str, str, str]]:
    """Provider, last part of the path and body of every write, in order."""
    return [
        (name, call.path, call.body.decode())
        for name, entries in calls(world, since).items()
        for call in entries
        if call.write
    ]


def added(world: World, since: Mapping[str, int] | None = None) -> list[tuple[str, str]]:
    """Provider and person of every call of ours that put somebody on a list, made a record or gave a consent.

    The person is an address, or at ROCS the id of the customer.
    """
    found = []
    for name, path, text in written(world, since):
        last = path.rpartition("/")[2]
        if last == "addToList":
            found += [(name, str(row["email"])) for row in json.loads(text)["data"]]
        elif last == "updateListData":
            found += [(name, row["_id"]) for row in json.loads(text)["data"] if row.get("status") == "subscribed"]
        elif last == "subscribe":
            found.append((name, dict(parse_qsl(text))["email"]))
        elif "/members/" in path and json.loads(text)["status"] != "unsubscribed":
            found.append((name, last))
        elif name == "rocs" and "/members/" not in path:
            body = json.loads(text) if text else {}
            if "email" in body or body.get("emailConsent"):
                found.append((name, str(body.get("email", last))))
    return found


def names_of(entries: Iterable[Call]) -> list[str]:
    return [call.path.rpartition("/")[2] for call in entries]


# What we hold --------------------------------------------------------------------------------------------------------


def account(world: World, name: str) -> Mapping[str, Any]:
    (row,) = world.rows("SELECT * FROM account WHERE name = :name", name=name)
    return row


def last_run(world: World, name: str) -> Mapping[str, Any]:
    return world.rows("SELECT * FROM v_runs WHERE account = :name ORDER BY started_at DESC, id DESC", name=name)[0]


def memberships(world: World, email: str) -> dict[tuple[str, str], str]:
    """Status by account and container, as the mirror has it."""
    rows = world.rows("SELECT account, remote_list, status FROM v_memberships WHERE email = :email", email=email)
    return {(row["account"], row["remote_list"]): row["status"] for row in rows}


def operations(world: World, **where: Any) -> list[Mapping[str, Any]]:
    clause = " AND ".join(f"{name} = :{name}" for name in where) or "1 = 1"
    return world.rows(f"SELECT * FROM op WHERE {clause} ORDER BY id", **where)


def plans(world: World, **where: Any) -> list[Mapping[str, Any]]:
    clause = " AND ".join(f"{name} = :{name}" for name in where) or "1 = 1"
    return world.rows(f"SELECT * FROM plan WHERE {clause} ORDER BY account, container, kind, hold", **where)


def suppressed(world: World, scope: str) -> set[str]:
    rows = world.rows("SELECT email FROM v_consent WHERE scope = :scope AND level = 'unsubscribed'", scope=scope)
    return {row["email"] for row in rows}


def values(world: World, table: str) -> int:
    return int(world.rows(f"SELECT COUNT(*) AS n FROM {table}")[0]["n"])


def sent_to(entries: Iterable[Call]) -> list[Any]:
    return [json.loads(call.body) for call in entries]


# What is said about it -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """What one command of a person's ended with and printed."""

    code: int
    out: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def command(world: World, *arguments: str) -> Told:
    """A command as typed beside the running system, on its clock and with its providers."""
    path = world._folder / "command.toml"
    path.write_text(re.sub(r'(?m)^url = ".*"$', lambda _: f'url = "{world.url}"', world._config, count=1))
    path.chmod(0o600)
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(io.StringIO()):
        outside = Outside(now=world.clock, transport=world.transport, engine_for=hasty)
        code = main([*arguments, "--config", str(path)], outside)
    quiet()
    return Told(code, printed.getvalue())


def explained(world: World, email: str) -> dict[str, dict[str, Any]]:
    """What `explain` tells of somebody, by account."""
    return {entry["account"]: entry for entry in command(world, "explain", email, "--json").data["accounts"]}


@contextmanager
def logged() -> Iterator[list[Any]]:
    """The log from INFO upwards, while it lasts."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20))
    with structlog.testing.capture_logs() as lines:
        yield lines
    quiet()
