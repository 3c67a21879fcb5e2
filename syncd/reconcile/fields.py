"""Three-way merge of ordinary fields: what each side last agreed on tells who moved.

Blank is not a value: a field that a provider does not show is neither a change nor a deletion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from syncd.reconcile.person import Account, Cell

NAME_FIELDS = ("first_name", "last_name")


def merge(
    canonical: Mapping[str, str],
    cells: Sequence[Cell],
    authority: Sequence[str],
    accounts: Mapping[str, Account],
    owners: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The values that should hold everywhere, given what held before and what every record shows now.

    Nobody moved: nothing changes. One moved, or several to the same value: that value. Several moved apart: the
    account that owns the field (`owners`) wins, else the first in `authority` (the order of the configuration).

    At first contact nobody has moved yet; a record then only fills what is blank, the owner first, then by authority.
    Where nothing held before and records that were compared show different values, each keeps its own until one moves,
    unless one of them is the owner's.
    """
    owners = owners or {}
    rank = {name: place for place, name in enumerate(authority)}
    ordered = sorted(cells, key=lambda cell: (rank.get(cell.account, len(rank)), cell.container, cell.key))
    merged = dict(canonical)
    for name in sorted({name for cell in ordered for name in cell.fields}):
        moved = [
            cell
            for cell in ordered
            if name in cell.fields and cell.base is not None and _moved(cell, name, canonical, accounts)
        ]
        if moved:
            merged[name] = min(moved, key=lambda cell: cell.account != owners.get(name)).fields[name]
    disputed = _disputed(ordered) - merged.keys()
    # Who knows where a name is cut comes before who keeps it in one field; an owner comes before both.
    by_cut = sorted(ordered, key=lambda cell: _one_name_field(cell, accounts))
    for owned in (True, False):
        for cell in by_cut:
            shown = _cut_as_known(cell.fields, merged) if _one_name_field(cell, accounts) else cell.fields
            for name, value in shown.items():
                if owners.get(name) == cell.account if owned else name not in disputed:
                    merged.setdefault(name, value)
    return merged


def _disputed(cells: Sequence[Cell]) -> set[str]:
    """Fields that records which were compared before show differently: a name counts as one."""
    shown: dict[str, set[str]] = {}
    for cell in cells:
        for name in cell.fields.keys() & (cell.base or {}).keys():
            whole = name in NAME_FIELDS
            shown.setdefault("name" if whole else name, set()).add(
                full_name(cell.fields) if whole else cell.fields[name]
            )
    found = {name for name, values in shown.items() if len(values) > 1}
    return (found - {"name"}) | (set(NAME_FIELDS) if "name" in found else set())


def differing(canonical: Mapping[str, str], cell: Cell, account: Account) -> dict[str, str]:
    """The fields to write so that this record shows the canonical values; only fields that the account can hold."""
    facts = account.capabilities.facts
    wanted = {name: value for name, value in canonical.items() if name in facts.fields and value}
    differs = {name: value for name, value in wanted.items() if cell.fields.get(name, "") != value}
    if facts.one_name_field and differs.keys() & set(NAME_FIELDS):
        whole = {name: canonical[name] for name in NAME_FIELDS if canonical.get(name)}
        for name in NAME_FIELDS:
            differs.pop(name, None)
        if full_name(whole) != full_name(cell.fields):
            differs |= whole
    return differs


def full_name(fields: Mapping[str, str]) -> str:
    return " ".join(" ".join(fields.get(name, "") for name in NAME_FIELDS).split())


def _moved(cell: Cell, name: str, canonical: Mapping[str, str], accounts: Mapping[str, Account]) -> bool:
    base = cell.base or {}
    if name not in base and name in accounts[cell.account].late:
        return False  # it was there all along, and is only seen now
    if name in NAME_FIELDS and _one_name_field(cell, accounts):
        # One field there, split by us: it moves as a whole, and another place of the cut is not another name.
        return full_name(cell.fields) not in {full_name(base), full_name(canonical)}
    return cell.fields[name] not in {base.get(name), canonical.get(name)}  # as it was, or the echo of what we wrote


def _one_name_field(cell: Cell, accounts: Mapping[str, Account]) -> bool:
    return accounts[cell.account].capabilities.facts.one_name_field


def _cut_as_known(fields: Mapping[str, str], known: Mapping[str, str]) -> Mapping[str, str]:
    """What a record with one name field adds: words of a half that is known are not taken for the other half."""
    rest = {name: value for name, value in fields.items() if name not in NAME_FIELDS}
    whole = full_name(fields)
    first, last = (" ".join(known.get(name, "").split()) for name in NAME_FIELDS)
    if whole in {first, last}:
        return rest
    if first and whole.startswith(f"{first} "):
        return rest | {"last_name": whole.removeprefix(f"{first} ")}
    if last and whole.endswith(f" {last}"):
        return rest | {"first_name": whole.removesuffix(f" {last}")}
    return fields
