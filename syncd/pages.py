"""What people get to see: status page, API description, one-click page.

Made here from plain values, whole and without anything from elsewhere: no script, no style sheet, no font of another
host. Whatever is shown is escaped, and no person is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

from syncd.domain.consent import GLOBAL

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0 2rem; width: 100%; }
th, td { border-bottom: 1px solid #8885; padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; }
code, pre { font: 13px/1.4 ui-monospace, monospace; }
pre { background: #8882; overflow-x: auto; padding: .5rem .8rem; }
button { font: inherit; padding: .6rem 1.4rem; }
.good { color: #187a3c; } .bad { color: #b3261e; } .quiet { opacity: .7; }
"""


def page(title: str, body: str, *, refresh_s: int | None = None) -> str:
    refresh = f'<meta http-equiv="refresh" content="{refresh_s}">' if refresh_s else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width">{refresh}<style>{STYLE}</style></head>\n'
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


# One click -----------------------------------------------------------------------------------------------------------


def unsubscribe_page(scope: str) -> str:
    body = (
        f"<p>Stop {_what(scope)}?</p>"
        '<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">'
        '<button type="submit">Unsubscribe</button></form>'
    )
    return page("Unsubscribe", body)


def unsubscribed_page(scope: str) -> str:
    return page("Unsubscribed", f"<p>Done: {_what(scope)} will not be sent to you any more.</p>")


def no_such_link_page() -> str:
    return page(
        "Unknown link", "<p>This link is not one of ours, or not all of it was copied. Nothing was changed.</p>"
    )


def _what(scope: str) -> str:
    return "all mail from us" if scope == GLOBAL else f"mail of <b>{escape(scope)}</b>"


# Status --------------------------------------------------------------------------------------------------------------

Runs = Sequence[Any]

ACCOUNT_COLUMNS = ("account", "provider", "state", "last good read", "outbox", "parked", "held", "")
RUN_COLUMNS = ("account", "began", "took", "result", "reason")


def status_page(status: Mapping[str, Any], runs: Runs, now: datetime) -> str:
    converged = bool(status.get("converged"))
    verdict = (
        '<p class="good">Converged: nothing is left to do.</p>'
        if converged
        else f'<p class="bad">Not converged: {int(status.get("distance") or 0)} left to do.</p>'
    )
    broken = ", ".join(escape(str(entry["invariant"])) for entry in status.get("breach", ()))
    stopped = f'<p class="bad">Broken, so that only unsubscribes are sent: {broken}</p>' if broken else ""
    overdue = status.get("overdue")
    late = f'<p class="bad">Unsubscribes overdue: {int(overdue)}</p>' if isinstance(overdue, int) and overdue else ""
    accounts = _table(ACCOUNT_COLUMNS, (_account_row(entry, now) for entry in status.get("accounts", ())))
    grades = status.get("grades") or {}
    known = ", ".join(f"{escape(str(name))} {int(count)}" for name, count in grades.items())
    latest = _table(RUN_COLUMNS, (_run_row(run, now) for run in runs))
    return page(
        "syncd",
        f"{verdict}{stopped}{late}<h2>Accounts</h2>{accounts}"
        + (f'<p class="quiet">How well records are known: {known}</p>' if known else "")
        + f"<h2>Latest runs</h2>{latest}"
        + f'<p class="quiet">{_iso(now)} · <a href="docs">docs</a> · <a href="metrics">metrics</a></p>',
        refresh_s=15,
    )


def _account_row(entry: Mapping[str, Any], now: datetime) -> list[str]:
    state = str(entry.get("state", ""))
    about = " · ".join(str(entry[name]) for name in ("reason", "hint") if entry.get(name))
    kind = "good" if state == "ok" else "bad" if state in {"failing", "quarantined"} else "quiet"
    return [
        f"<td>{escape(str(entry.get('name', '')))}</td>",
        f"<td>{escape(str(entry.get('provider', '')))}</td>",
        f'<td class="{kind}">{escape(state)}</td>',
        f"<td>{_ago(moment(entry.get('last_good_read')), now)}</td>",
        *(f'<td class="number">{int(entry.get(name) or 0)}</td>' for name in ("outbox", "parked", "held")),
        f"<td>{escape(about)}</td>",
    ]


def _run_row(run: Any, now: datetime) -> list[str]:
    took = f"{(run.ended_at - run.started_at).total_seconds():.1f} s" if run.ended_at else ""
    kind = {"success": "good", "running": "quiet"}.get(run.result, "bad")
    return [
        f"<td>{escape(run.account)}</td>",
        f"<td>{_ago(run.started_at, now)}</td>",
        f'<td class="number">{took}</td>',
        f'<td class="{kind}">{escape(run.result)}</td>',
        f"<td>{escape(run.reason)}</td>",
    ]


def _table(columns: Iterable[str], rows: Iterable[list[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(cells)}</tr>\n" for cells in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def moment(value: Any) -> datetime | None:
    """A time as the status gives it, as ISO text or as it is."""
    found = datetime.fromisoformat(value) if isinstance(value, str) and value else value
    if not isinstance(found, datetime):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _ago(at: datetime | None, now: datetime) -> str:
    if at is None:
        return '<span class="quiet">never</span>'
    age = timedelta(seconds=max(0, int((now - at).total_seconds())))
    return f'<span title="{_iso(at)}">{age} ago</span>'


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


# The API -------------------------------------------------------------------------------------------------------------

METHODS = ("get", "head", "post", "put")


def docs_page(document: Mapping[str, Any]) -> str:
    parts = [f"<p>{escape(document['info']['description'])}</p>", '<p><a href="openapi.json">openapi.json</a></p>']
    for path, item in document["paths"].items():
        parts += [_operation(document, path, method, item) for method in METHODS if method in item]
    return page(document["info"]["title"], "\n".join(parts))


def _operation(document: Mapping[str, Any], path: str, method: str, item: Mapping[str, Any]) -> str:
    operation = item[method]
    parts = [f"<h2><code>{method.upper()} {escape(path)}</code></h2>", f"<p><b>{escape(operation['summary'])}</b></p>"]
    if "description" in operation:
        parts.append(f"<p>{escape(operation['description'])}</p>")
    parameters = [
        _resolved(document, entry) for entry in (*item.get("parameters", ()), *operation.get("parameters", ()))
    ]
    if parameters:
        parts.append(_table(("parameter", "in", ""), (_parameter_row(entry) for entry in parameters)))
    body = _resolved(document, operation.get("requestBody", {}))
    for kind, content in body.get("content", {}).items():
        parts.append(f"<p>Body as <code>{escape(kind)}</code></p>")
        if "example" in content:
            parts.append(f"<pre>{escape(_text(content['example']))}</pre>")
    answers = ((status, _resolved(document, answer)) for status, answer in operation["responses"].items())
    rows = ([f"<td>{escape(status)}</td>", f"<td>{escape(answer['description'])}</td>"] for status, answer in answers)
    return "".join(parts) + _table(("status", ""), rows)


def _parameter_row(entry: Mapping[str, Any]) -> list[str]:
    return [
        f"<td><code>{escape(entry['name'])}</code></td>",
        f"<td>{escape(entry['in'])}</td>",
        f"<td>{escape(entry.get('description', ''))}</td>",
    ]


def _resolved(document: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in node:
        return node
    found: Any = document
    for name in node["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


def _text(example: Any) -> str:
    if isinstance(example, str):
        return example
    return "{" + ", ".join(f'"{name}": {_quoted(value)}' for name, value in example.items()) + "}"


def _quoted(value: Any) -> str:
    return _text(value) if isinstance(value, dict) else f'"{value}"'
