"""What Sales.Rocks can be asked besides lists: verify, search, connect mailboxes, warm them up."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.command import command
from syncd.cli.exits import Exit, UsageError
from syncd.cli.inspect import Email, address
from syncd.cli.invocation import Invocation, cell_text, require_known

if TYPE_CHECKING:
    from syncd.app import App
    from syncd.providers.salesrocks.calls import Calls
    from syncd.wire import Exchange

PROVIDER = "salesrocks"

Account = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="An account at Sales.Rocks; else the only one.")
]
Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help="Of a company, such as example.com.")]
Handle = Annotated[str, typer.Argument(metavar="HANDLE", help="A LinkedIn handle, or the address of the page.")]
First = Annotated[str, typer.Argument(metavar="FIRST")]
Last = Annotated[str, typer.Argument(metavar="LAST")]

_DOMAIN = re.compile(r"[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)*\.[a-z0-9-]{2,}", re.IGNORECASE)
"""What the page says a domain must look like."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def declare(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Ask Sales.Rocks: verify, search, connections, warm-ups.")
    for body in (
        verify_email,
        verify_phone,
        email_patterns,
        linkedin_contacts,
        company_email,
        contact_emails,
        contact_email,
        email_by_company,
        email_by_domain,
        list_names,
        generate_email,
        create_connection,
        create_warmer,
        create_list,
    ):
        command(group, body.__name__.replace("_", "-"))(body)
    app.add_typer(group, name=PROVIDER)


# Validation ----------------------------------------------------------------------------------------------------------


def verify_email(call: Invocation, email: Email, account: Account = None) -> int:
    """Say whether mail reaches an address, with a score from 0 to 99."""
    asked = str(address(email))

    def asking(calls: Calls) -> Exchange[Any]:
        from syncd.providers.salesrocks import verify

        return verify.verify_email(calls, asked)

    return _ask(call, account, "emailVerifier", asking)


def verify_phone(
    call: Invocation, phones: Annotated[list[str], typer.Argument(metavar="PHONE...")], account: Account = None
) -> int:
    """Say whether numbers are ones that can be called, and where. Write them with their country code."""

    def asking(calls: Calls) -> Exchange[Any]:
        from syncd.providers.salesrocks import verify

        return verify.verify_phones(calls, phones)

    return _ask(call, account, "phoneVerifier", asking, under="phones")


# Search --------------------------------------------------------------------------------------------------------------


def email_patterns(call: Invocation, domain: Domain, account: Account = None) -> int:
    """Say how the addresses of a domain are made."""
    return _search(call, account, "emailPatternsByDomain", "email_patterns", [_domain(domain)], "email_patterns")


def linkedin_contacts(call: Invocation, domain: Domain, account: Account = None) -> int:
    """Find the LinkedIn handles of people at a domain."""
    under = "contact_linkedin_handles"
    return _search(call, account, "linkedinContactsByDomain", "linkedin_contacts", [_domain(domain)], under)


def company_email(call: Invocation, handle: Handle, account: Account = None) -> int:
    """Find a company's address, by its LinkedIn handle."""
    given, name = [_handle(handle)], "companyEmailByCompanyLinkedinHandle"
    return _search(call, account, name, "company_email", given, "company_email")


def contact_emails(call: Invocation, handle: Handle, account: Account = None) -> int:
    """Find the addresses of people at a company, by its LinkedIn handle."""
    given, name = [_handle(handle)], "contactEmailsByCompanyLinkedinHandle"
    return _search(call, account, name, "contact_emails", given, "contact_emails")


def contact_email(call: Invocation, handle: Handle, account: Account = None) -> int:
    """Find one contact's address, by their LinkedIn handle."""
    return _search(call, account, "contactEmailByContactLinkedinHandle", "contact_email", [_handle(handle)])


def email_by_company(
    call: Invocation,
    first: First,
    last: Last,
    company: Annotated[str, typer.Argument(metavar="COMPANY", help="Its name.")],
    account: Account = None,
) -> int:
    """Find somebody's address at a company, by its name."""
    given = [_said(word) for word in (first, last, company)]
    return _search(call, account, "emailByFirstLastAndCompanyName", "email_by_company", given)


def email_by_domain(call: Invocation, first: First, last: Last, domain: Domain, account: Account = None) -> int:
    """Find somebody's address at a company, by its domain."""
    given = [_said(first), _said(last), _domain(domain)]
    return _search(call, account, "emailByFirstLastNameAndCompanyDomain", "email_by_domain", given)


def generate_email(call: Invocation, first: First, last: Last, domain: Domain, account: Account = None) -> int:
    """Make addresses that somebody may have. Nobody looked whether there is one: verify before use."""
    given = [_said(first), _said(last), _domain(domain)]
    return _search(call, account, "generateEmail", "generate_emails", given, "emails")


def list_names(call: Invocation, email: Email, account: Account = None) -> int:
    """Find the lists, and the campaigns over them, that go with an address."""
    asked = str(address(email))

    def asking(calls: Calls) -> Exchange[Any]:
        from syncd.providers.salesrocks import search

        found = yield from search.lists_of(calls, asked)
        return [
            {
                "id": row.id,
                "list_name": row.list_name,
                "date_of_creation": row.date_of_creation,
                "campaigns": [{"id": number, "name": name} for number, name in row.campaigns.items()],
            }
            for row in found
        ]

    return _ask(call, account, "getListNameAndIds", asking, under="lists")


def _search(call: Invocation, account: str | None, name: str, function: str, given: list[str], under: str = "") -> int:
    """`function`: of `syncd.providers.salesrocks.search`, which a command without an account need not load."""

    def asking(calls: Calls) -> Exchange[Any]:
        from syncd.providers.salesrocks import search

        exchange: Exchange[Any] = getattr(search, function)(calls, *given)
        return exchange

    return _ask(call, account, name, asking, under=under)


# What is made anew ---------------------------------------------------------------------------------------------------


def create_connection(
    call: Invocation,
    *,
    email: Annotated[str, typer.Option("--email", help="The mailbox, which is its user name too.")],
    sender_name: Annotated[str, typer.Option("--sender-name")],
    secret_file: Annotated[
        str, typer.Option("--secret-file", metavar="FILE", help="Where its password is; - reads it from stdin.")
    ],
    smtp_host: Annotated[str, typer.Option("--smtp-host")],
    test_to: Annotated[str, typer.Option("--test-to", metavar="EMAIL", help="Who receives the test mail.")],
    smtp_port: Annotated[int, typer.Option("--smtp-port", min=1, max=65535)] = 465,
    smtp_encryption: Annotated[str, typer.Option("--smtp-encryption")] = "ssl",
    imap_host: Annotated[str | None, typer.Option("--imap-host")] = None,
    imap_port: Annotated[int, typer.Option("--imap-port", min=1, max=65535)] = 993,
    imap_encryption: Annotated[str, typer.Option("--imap-encryption")] = "ssl",
    permission: Annotated[str, typer.Option("--permission", help="private or company")] = "private",
    bcc: Annotated[str | None, typer.Option("--bcc", metavar="EMAIL")] = None,
    account: Account = None,
) -> int:
    """Connect a mailbox. Its password is read from a file, sent, and neither printed nor kept."""
    _one_of("permission", permission, ("private", "company"))
    mailbox, receiver = str(address(email)), str(address(test_to))
    secret = _secret(secret_file)

    def asking(calls: Calls) -> Exchange[Any]:
        from syncd.providers.salesrocks import warmer

        order = warmer.Mailbox(
            sender_name=_said(sender_name),
            email=mailbox,
            secret=secret,
            smtp_host=_said(smtp_host),
            smtp_port=str(smtp_port),
            smtp_encryption=smtp_encryption,
            permission=permission,
            receiving_email=receiver,
            imap_host=imap_host,
            imap_port=None if imap_host is None else str(imap_port),
            imap_encryption=None if imap_host is None else imap_encryption,
            bcc=bcc,
        )
        return warmer.create_email_connection(calls, order)

    return _ask(call, account, "createEmailConnection", asking)


def create_warmer(
    call: Invocation,
    *,
    email: Annotated[str, typer.Option("--email", help="A mailbox that was connected before.")],
    start: Annotated[str, typer.Option("--start", metavar="TIME", help="As 2026-11-22 09:00:00, in the zone.")],
    timezone: Annotated[str, typer.Option("--timezone", help="As the service writes it.")] = "UTC",
    increment: Annotated[int, typer.Option("--increment", min=1, help="How many mails more every day.")] = 3,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most mails a day.")] = 10,
    mature: Annotated[bool, typer.Option("--mature", help="The mailbox has sent for long.")] = False,
    stop_at_limit: Annotated[bool, typer.Option("--stop-at-limit")] = False,
    account: Account = None,
) -> int:
    """Begin to warm up a mailbox."""
    if not _TIME.fullmatch(start):
        raise UsageError(f"--start is not a time: `{start}`", hint="write it as 2026-11-22 09:00:00")
    mailbox = str(address(email))

    def asking(calls: Calls) -> Exchange[Any]:
        from syncd.providers.salesrocks import warmer

        warming = warmer.Warming(mailbox, increment, limit, start, timezone, mature, stop_at_limit)
        return warmer.create_email_warmer(calls, warming)

    return _ask(call, account, "createEmailWarmer", asking)


def create_list(
    call: Invocation,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    permission: Annotated[str, typer.Option("--permission", help="personal or company")] = "personal",
    account: Account = None,
) -> int:
    """Make a new list. Link it in the configuration by the id that `syncd inspect lists` shows."""
    _one_of("permission", permission, ("personal", "company"))

    def asking(calls: Calls) -> Exchange[Any]:
        from syncd.providers.salesrocks import warmer

        return warmer.create_list(calls, _said(name), permission)

    return _ask(call, account, "createList", asking, under="list_id")


# Asking --------------------------------------------------------------------------------------------------------------


def _ask(
    call: Invocation, account: str | None, name: str, asking: Callable[[Calls], Exchange[Any]], *, under: str = ""
) -> int:
    """Carry one exchange at the account and print what it brought; `under`: by which name, if it is no object."""
    chosen = _account(call, account)
    call.log(level="WARNING", as_json=False)

    async def carrying(app: App) -> int:
        import msgspec

        from syncd.domain.errors import ProviderError
        from syncd.providers.salesrocks.adapter import SalesRocksAdapter

        lane = app.context.lanes[chosen]
        assert isinstance(lane.provider, SalesRocksAdapter)
        try:
            found = msgspec.to_builtins(await lane.carrier.carry(asking(lane.provider.calls)))
        except ProviderError as error:
            error.hint = error.hint or _next(error, name, chosen)
            raise
        _show(call, {"account": chosen, "call": name, "result": {under: found} if under else found})
        return Exit.DONE

    return call.work(carrying)


def _next(error: Exception, name: str, account: str) -> str:
    from syncd.domain.errors import AnswerLostError, RefusedError

    if isinstance(error, AnswerLostError) and name.startswith("create"):
        return "look at app.sales.rocks whether it was made, before you ask again"
    if isinstance(error, RefusedError):
        return f"syncd {PROVIDER} --help, and what app.sales.rocks says of this account"
    return f"syncd account check {account}"


def _account(call: Invocation, name: str | None) -> str:
    ours = [entry for entry, options in call.settings.accounts.items() if options.provider == PROVIDER]
    if name is not None:
        require_known("account", name, call.settings.accounts)
        if name not in ours:
            hint = f"there is {', '.join(ours)}" if ours else "there are none"
            raise UsageError(f"`{name}` is no account at Sales.Rocks", hint=hint)
        return name
    if len(ours) != 1:
        what = "there are several accounts at Sales.Rocks" if ours else "there is no account at Sales.Rocks"
        hint = f"name one with --account: {', '.join(ours)}" if ours else "add one to the configuration"
        raise UsageError(what, hint=hint)
    return ours[0]


def _show(call: Invocation, told: dict[str, Any]) -> None:
    if call.json:
        call.show(told)
        return
    for name, value in told["result"].items():
        rows = value if isinstance(value, list) and value and isinstance(value[0], Mapping) else None
        if rows is None:
            call.write(f"{name}: {cell_text(value)}")
        else:
            call.table(list(rows[0]), [row.values() for row in rows])


# What was typed ------------------------------------------------------------------------------------------------------


def _said(word: str) -> str:
    if not word.strip():
        raise UsageError("a word that is empty", hint=f"syncd {PROVIDER} --help")
    return word.strip()


def _domain(word: str) -> str:
    if not _DOMAIN.fullmatch(word.strip()):
        raise UsageError(f"`{word}` is not a domain", hint="write it as example.com")
    return word.strip().lower()


def _handle(word: str) -> str:
    """The handle, also out of the address of the page."""
    handle = word.strip().partition("?")[0].rstrip("/").rpartition("/")[2]
    if not re.fullmatch(r"[^\s.:@]+", handle):
        raise UsageError(f"`{word}` is not a LinkedIn handle", hint="write the last part of the page's address")
    return handle


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"--{name} cannot be `{value}`", hint=f"it is {' or '.join(known)}")


def _secret(file: str) -> str:
    try:
        secret = sys.stdin.readline() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--secret-file: {file} cannot be read: {type(error).__name__}", hint="chmod 600") from None
    if not secret.strip():
        raise UsageError(f"--secret-file: {file} is empty", hint="write the password of the mailbox into it")
    return secret.strip("\r\n")
