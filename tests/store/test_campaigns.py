"""Campaign statistics: the latest of each, and a history that grows when a number changes."""

from __future__ import annotations

import pytest

from syncd.domain.records import CampaignStats, Status
from syncd.store import campaigns
from syncd.store.session import Engine, reading, writing
from tests.store.factories import NOW, later, observe, person, rows, seen


def stats(sent: int | None = 10, **more) -> CampaignStats:
    return CampaignStats(**({"campaign_id": "c-1", "name": "Autumn", "sent": sent, "status": "running"} | more))


def save(engine: Engine, *found: CampaignStats, at=NOW) -> int:
    with writing(engine) as connection:
        return campaigns.save_campaigns(connection, "rocs", found, at)


def samples(engine: Engine) -> list[tuple[str, int | None]]:
    return [(row.day, row.sent) for row in rows(engine, campaigns.sample)]


@pytest.mark.parametrize(
    ("second", "new"),
    [
        pytest.param(stats(10), 0, id="nothing changed"),
        pytest.param(stats(11), 1, id="more were sent"),
        pytest.param(stats(9), 1, id="a number went down: restated"),
        pytest.param(stats(None), 1, id="not told any more"),
        pytest.param(stats(10, opened=1), 1, id="another counter"),
        pytest.param(stats(10, extra={"replied": 2}), 1, id="a counter only this provider has"),
        pytest.param(stats(10, status="stopped", name="Winter"), 0, id="only its name or its state"),
        pytest.param(stats(10, campaign_id="c-2"), 1, id="another campaign"),
    ],
)
def test_history_grows_when_a_number_changes(engine: Engine, second: CampaignStats, new: int):
    assert save(engine, stats(10)) == 1
    assert save(engine, second, at=later(1)) == new
    assert len(samples(engine)) == 1 + new


def test_the_latest_of_each_campaign_is_kept(engine: Engine):
    save(engine, stats(10))
    save(engine, stats(10, status="stopped", name="Winter"), at=later(1))
    (row,) = rows(engine, campaigns.campaign)
    assert (row.name, row.status, row.observed_at) == ("Winter", "stopped", later(1))


def test_days_are_kept_apart_and_may_be_restated(engine: Engine):
    monday, tuesday = "2026-11-16", "2026-11-17"
    save(engine, stats(5, day=monday), stats(6, day=tuesday))
    assert save(engine, stats(5, day=monday), stats(7, day=tuesday), at=later(1)) == 1
    assert samples(engine) == [(monday, 5), (tuesday, 6), (tuesday, 7)]
    assert len(rows(engine, campaigns.campaign)) == 1


def test_the_same_numbers_twice_in_one_report_are_one_sample(engine: Engine):
    assert save(engine, stats(5), stats(5)) == 1


def test_accounts_are_kept_apart(engine: Engine):
    save(engine, stats(5))
    with writing(engine) as connection:
        assert campaigns.save_campaigns(connection, "salesrocks", [stats(5)], NOW) == 1


# Through whom campaigns can be found


def members(engine: Engine) -> dict[str, frozenset[str]]:
    with reading(engine) as connection:
        return {
            who: frozenset(map(str, lists))
            for who, lists in campaigns.memberships_for_cover(connection, "rocs").items()
        }


def test_every_list_has_somebody_and_the_widest_are_among_them(engine: Engine):
    def member(number: int, container: str, status: Status = Status.SUBSCRIBED):
        observe(engine, seen(f"{container}-{number}", status, identity=person(number), container=container), seq=5)

    for container, numbers in {"A": (1, 2, 9), "B": (3, 9), "C": (4,)}.items():
        for number in numbers:
            member(number, container)
    member(5, "D", Status.REMOVED)
    member(6, "D", Status.ABSENT)
    member(7, "*")
    observe(engine, seen("x", identity=None, container="E"), seq=5)
    found = members(engine)
    assert frozenset().union(*found.values()) == {"A", "B", "C"}
    assert found[person(9)] == {"A", "B"}
    assert person(2) not in found


def test_with_nobody_there_nobody_is_asked(engine: Engine):
    assert members(engine) == {}
