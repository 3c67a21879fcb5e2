"""Leads: the lists that campaigns go to, leads that were only tests, and the sheet for whoever sends them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.command import command
from syncd.cli.exits import Exit, UsageError
from syncd.cli.invocation import Invocation, require_known
from syncd.cli.links import ListName, change

if TYPE_CHECKING:
    from datetime import date

    from syncd.app import App
    from syncd.providers.rokt.adapter import RoktReportingAdapter
    from syncd.providers.rokt.options import RoktOptions
    from syncd.providers.rokt.sheet import About
    from syncd.sync.context import Lane

Account = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="Of this account; needed where several send leads.")
]
Campaign = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The id of a campaign there.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")]

CAMPAIGNS = ("account", "campaign_id", "name", "leads", "parked", "lists", "last_lead_at")
TESTS = ("received_at", "account", "address", "campaign", "fields", "method", "encoding", "times")


class Form(StrEnum):
    """What the sheet is written as."""

    MARKDOWN = "markdown"
    HTML = "html"
    OPENAPI = "openapi"


def declare(app: typer.Typer) -> None:
    group = typer.Typer(
        no_args_is_help=True, help="Campaigns that bring leads, test leads, and the sheet for a sender."
    )
    command(group, "campaigns")(campaigns)
    command(group, "link")(link)
    command(group, "unlink")(unlink)
    command(group, "test")(latest_tests)
    command(group, "sheet")(sheet)
    command(group, "query")(query)
    app.add_typer(group, name="leads")


# Campaigns and lists -------------------------------------------------------------------------------------------------


def campaigns(call: Invocation, account: Account = None) -> int:
    """Every campaign known, the lists it goes to, and how many of its leads wait because it goes to none."""
    call.log(level="WARNING", as_json=False)

    def looking(app: App) -> int:
        from syncd.sync.leads import campaigns as known

        rows = known(app.context, _of(app, account))
        if call.json:
            call.show(rows)
            return Exit.DONE
        for row in rows:
            linked = [f"{entry['list']} ({entry['by']})" for entry in row["lists"]]
            ended = [f"{entry['list']} (unlinked {entry['unlinked_at']})" for entry in row["ended"]]
            row["lists"] = ", ".join(linked + ended) or None
        call.table(CAMPAIGNS, [[row[column] for column in CAMPAIGNS] for row in rows])
        if any(row["parked"] for row in rows):
            call.say("next: syncd leads link CAMPAIGN LIST releases the leads that wait")
        return Exit.DONE

    return call.with_app(looking)


def link(call: Invocation, campaign: Campaign, list_name: ListName, account: Account = None) -> int:
    """Let the leads of a campaign go to a list, those that waited included; nobody who said no is added."""
    return _change(call, campaign, list_name, account, "linked")


def unlink(call: Invocation, campaign: Campaign, list_name: ListName, account: Account = None) -> int:
    """Let no more leads of a campaign go to a list. They are kept; who is on the list stays there."""
    return _change(call, campaign, list_name, account, "unlinked")


def _change(call: Invocation, campaign: str, list_name: str, account: str | None, state: str) -> int:
    wanted = campaign.strip()
    if not wanted.isprintable() or not wanted or wanted == "*":
        raise UsageError(
            "that is not the id of a campaign", hint=f'all of them: write it as "*" into [lists.{list_name}]'
        )

    def account_of(app: App) -> str:
        return _one(_of(app, account))

    words = ("campaign", "leads")
    return change(call, list_name, state, account_of=account_of, container=wanted, words=words, following="syncd sync")


def _of(app: App, account: str | None) -> list[str]:
    """The accounts that send leads, or the one that was named, which must be one of them."""
    from syncd.sync.leads import accounts_with_leads

    known = accounts_with_leads(app.context)
    if account is None:
        return known
    require_known("account that sends leads", account, known)
    return [account]


def _one(accounts: list[str]) -> str:
    if len(accounts) == 1:
        return accounts[0]
    if not accounts:
        raise UsageError("no account sends leads", hint="syncd config show")
    raise UsageError("several accounts send leads", hint=f"--account {' | '.join(accounts)}")


# Tests ---------------------------------------------------------------------------------------------------------------


def latest_tests(call: Invocation, account: Account = None, limit: Limit = 20) -> int:
    """The latest test leads as they arrived and were read. Nothing follows from any of them."""
    call.log(level="WARNING", as_json=False)

    def looking(app: App) -> int:
        from syncd.sync.leads import tests as latest

        rows = latest(app.context, _of(app, account), limit)
        if call.json:
            call.show(rows)
        else:
            call.table(TESTS, [[row[column] for column in TESTS] for row in rows])
        return Exit.DONE

    return call.with_app(looking)


# The Query API -------------------------------------------------------------------------------------------------------


class Query(StrEnum):
    """What can be asked of the Query API by hand."""

    ACCOUNTS = "accounts"
    ACCOUNT = "account"
    CAMPAIGN_WORDS = "campaigns-help"
    TRANSACTION_WORDS = "transactions-help"
    TRANSACTIONS = "transactions"


def query(
    call: Invocation,
    what: Annotated[Query, typer.Argument(help="What to ask for.")],
    account: Account = None,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="How many days back, of transactions.")] = 31,
) -> int:
    """Ask Rokt's Query API about the account: who it is, what can be asked for, its transactions by day."""
    call.log(level="WARNING", as_json=False)

    async def asking(app: App) -> int:
        from syncd.providers.rokt.adapter import RoktReportingAdapter

        lanes = app.context.lanes
        able = [name for name in _of(app, account) if isinstance(lanes[name].provider, RoktReportingAdapter)]
        if not able:
            raise UsageError("no account has the Query API configured", hint="query_url and the four keys beside it")
        lane = lanes[_one(able)]
        assert isinstance(lane.provider, RoktReportingAdapter)
        found = await _answer(lane, lane.provider, what, app.outside.now().date(), days)
        if call.json:
            call.show(found)
        else:
            for row in found:
                call.write(", ".join(f"{name}: {value}" for name, value in row.items()))
        return Exit.DONE

    return call.work(asking)


async def _answer(
    lane: Lane, provider: RoktReportingAdapter, what: Query, today: date, days: int
) -> list[dict[str, Any]]:
    from dataclasses import asdict
    from datetime import timedelta

    carry = lane.carrier.carry
    match what:
        case Query.ACCOUNTS:
            return [asdict(one) for one in await carry(provider.accounts())]
        case Query.ACCOUNT:
            return [asdict(await carry(provider.account()))]
        case Query.CAMPAIGN_WORDS:
            return [asdict(await carry(provider.words("campaigns")))]
        case Query.TRANSACTION_WORDS:
            return [asdict(await carry(provider.words("transactions")))]
        case Query.TRANSACTIONS:
            start, end = today - timedelta(days=days - 1), today + timedelta(days=1)
            return [dict(row) for row in await carry(provider.transactions(start, end))]


# The sheet -----------------------------------------------------------------------------------------------------------


def sheet(
    call: Invocation,
    account: Account = None,
    form: Annotated[Form, typer.Option("--format", help="What it is written as.")] = Form.MARKDOWN,
) -> int:
    """Write the document that Rokt asks for before it connects. It names no secret."""
    import json

    about = _about(call, account)
    if form is Form.OPENAPI:
        from importlib.metadata import version

        from syncd.providers.rokt.sheet_openapi import openapi_of

        document: Any = openapi_of(about, version("syncd"))
        text = json.dumps(document, indent=2, ensure_ascii=False)
    else:
        from syncd.providers.rokt.paper import html_of, markdown_of
        from syncd.providers.rokt.sheet import sheet_of

        text = document = (html_of if form is Form.HTML else markdown_of)(sheet_of(about))
    if call.json:
        call.show({"account": about.account, "format": str(form), "document": document})
    else:
        call.write(text.rstrip("\n"))
    return Exit.DONE


def _about(call: Invocation, account: str | None) -> About:
    from syncd.providers.rokt.options import RoktOptions
    from syncd.providers.rokt.sheet import About, bases_of

    settings = call.settings
    known: dict[str, RoktOptions] = {
        name: options for name, options in settings.accounts.items() if isinstance(options, RoktOptions)
    }
    if account is not None:
        require_known("account that sends leads", account, known)
    name = account or _one(list(known))
    public = settings.receiver.public_url
    if public is None:
        call.say("warning: receiver.public_url is not set: the addresses below are those on this machine")
        public = "https://HOST" if settings.receiver.path else f"http://{settings.receiver.listen}"
    if known[name].contact is None:
        call.say(f"warning: accounts.{name}.contact is not set: Rokt asks for a technical contact")
    return About(name, known[name], bases_of(known[name], public), settings.receiver.body_bytes_max)
