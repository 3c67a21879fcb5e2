"""Who sees the status page, who sees persons there, and who may decide."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.domain.identity import Identity
from syncd.receiver.operator import Sessions
from syncd.store import plans
from syncd.store.session import writing
from tests.pages.site import NAMES, SCRIPT, TOKEN, Site, crowded, held
from tests.scenes import Open, logged, person
from tests.world import World

pytestmark = pytest.mark.xdist_group("pages")  # they share a world with the tests in the browser


@pytest.fixture
def empty(open_small_world: Open) -> World:
    return open_small_world()


# Persons -------------------------------------------------------------------------------------------------------------


def paths_of(site: Site) -> list[str]:
    return ["/", "/login", "/contact", *(f"/plan/{row.id}" for row in held(site.world))]


def test_nobody_is_named_to_who_is_not_logged_in(town: World) -> None:
    site = Site(town)
    for path in paths_of(site):
        answer = site.ask("GET", path)
        assert answer.status_code == (303 if path == "/contact" else 200), path
        text = answer.text
        for email, (first, last) in NAMES.items():
            assert email not in text, path
            assert last.strip() not in text or not last.strip(), path
            assert first not in text, path
    assert "overdue" in site.ask("GET", "/").text, "that there is something is shown"


def test_whoever_is_logged_in_sees_who_waits_and_why(town: World) -> None:
    site = Site(town)
    site.log_in()
    text = site.ask("GET", "/").text
    assert "shalom@example.org" in text, "overdue"
    assert "corn@example.org" in text, "a claim, and what is parked"
    plan = next(row for row in held(town) if row.account == "sales")
    text = site.ask("GET", f"/plan/{plan.id}").text
    assert "eve@example.org" in text
    assert "joined the list elsewhere" in text
    assert f"exactly these {plan.count} changes" in text
    assert "&lt;script&gt;" in text
    assert SCRIPT not in text
    assert "[U+202E]live" in text, "what turns a name about is named"


def test_without_a_token_in_the_configuration_nobody_can_log_in_and_the_page_says_how(town: World) -> None:
    site = Site(town, operator_token=None)
    assert site.ask("GET", "/").status_code == 200
    assert "How to enable it" in site.ask("GET", "/").text
    assert "operator_token_file" in site.ask("GET", "/login").text
    assert site.log_in("").status_code == 200
    assert not site.cookies
    assert site.ask("POST", "/act", data={"what": "sync"}).status_code == 303
    assert "<form" not in site.ask("GET", "/").text


def test_a_page_of_a_plan_behind_its_last_shows_nobody(town: World) -> None:
    site = Site(town)
    site.log_in()
    plan = held(town)[0]
    assert "@example.org" in site.ask("GET", f"/plan/{plan.id}?page=no").text
    for page in ("2", "999999"):
        answer = site.ask("GET", f"/plan/{plan.id}?page={page}")
        assert (answer.status_code, "@example.org" in answer.text) == (200, False)


# The page itself -----------------------------------------------------------------------------------------------------

FROM_ELSEWHERE: dict[str, dict[str, Any]] = {
    "another name": {"host": "sync.example.org"},
    "another machine": {"peer": "10.0.0.9"},
    "a proxy's header": {"headers": {"x-forwarded-for": "203.0.113.9"}},
    "a name that leads to us": {"host": "rebound.example.net:8480"},
}


@pytest.mark.parametrize("about", FROM_ELSEWHERE.values(), ids=FROM_ELSEWHERE)
def test_the_page_is_for_this_machine_and_for_who_logs_in(empty: World, about: dict[str, Any]) -> None:
    closed = Site(empty, operator_token=None)
    for path in ("/", "/login", "/contact", "/plan/x"):
        assert closed.ask("GET", path, **about).status_code == 404, path
    site = Site(empty)
    for path in ("/", "/contact", "/plan/x"):
        answer = site.ask("GET", path, **about)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login"), path
    assert site.ask("GET", "/login", **about).status_code == 200
    assert site.log_in(**about).status_code == 303
    assert site.ask("GET", "/", **about).status_code == 200


def test_what_nginx_passes_on_where_nothing_else_is_said_is_not_from_this_machine(empty: World) -> None:
    site = Site(empty, operator_token=None)
    inner = site.asgi

    async def as_one_oh(scope, receive, send):
        await inner({**scope, "http_version": "1.0"}, receive, send)

    site.asgi = as_one_oh  # type: ignore[assignment]
    assert site.ask("GET", "/").status_code == 404


# Logging in ----------------------------------------------------------------------------------------------------------


def test_a_session_is_a_cookie_that_no_script_and_no_other_site_gets(empty: World) -> None:
    plain = Site(empty).log_in().headers["set-cookie"]
    assert plain.startswith("syncd_session=")
    assert {"HttpOnly", "Path=/", "SameSite=strict", "Max-Age=43200"} <= set(plain.split("; "))
    assert "Secure" not in plain
    public = Site(empty, public_url="https://sync.example.org")
    tls = public.log_in(host="sync.example.org").headers["set-cookie"]
    assert tls.startswith("__Host-syncd_session=")
    assert "Secure" in tls.split("; ")
    assert "Domain" not in tls
    near = Site(empty, public_url="https://sync.example.org").log_in().headers["set-cookie"]
    assert "Secure" not in near.split("; "), "a browser on this machine asks in plain HTTP"


def logged_in(site: Site) -> bool:
    return "Log out" in site.ask("GET", "/").text


def test_a_session_ends_by_itself_by_logging_out_and_with_the_token(empty: World) -> None:
    process = Sessions()
    site = Site(empty, process, operator_session=3600)
    site.log_in()
    assert logged_in(site)
    empty.wait(3599)
    assert logged_in(site)
    empty.wait(2)
    assert not logged_in(site), "it has expired"
    site.log_in()
    stolen = dict(site.cookies)
    site.ask("POST", "/logout", data={"token": site.token()})
    assert not logged_in(site)
    site.cookies.update(stolen)
    assert not logged_in(site), "one that was ended is not taken up again"
    anew = Site(empty, process, operator_session=3600)
    anew.cookies.update(stolen)
    assert not logged_in(anew), "nor once the receiver was made anew"
    site.log_in()
    anew.cookies = site.cookies
    assert logged_in(anew), "one that goes on goes on there"
    other = Site(empty, process, operator_token="another-token-of-16")
    other.cookies = site.cookies
    assert not logged_in(other), "a new token ends what the old one began"
    restarted = Site(empty, operator_session=3600)
    restarted.cookies = site.cookies
    assert not logged_in(restarted), "nobody knows any more which of them had ended"


@pytest.mark.parametrize("at", [0, 5, -1])
def test_a_cookie_that_was_changed_is_nobodys(empty: World, at: int) -> None:
    site = Site(empty)
    site.log_in()
    name, value = next(iter(site.cookies.items()))
    changed = list(value)
    changed[at] = "0" if changed[at] != "0" else "1"
    site.cookies.clear()
    site.cookies.set(name, "".join(changed))
    assert not logged_in(site)


@pytest.mark.parametrize("value", ["", ".", "..", "x.y", "999999999999.a." + "0" * 64, "é", "1" * 5000])
def test_nonsense_for_a_cookie_is_nobodys(empty: World, value: str) -> None:
    site = Site(empty)
    answer = site.ask("GET", "/", headers={"cookie": f"syncd_session={value}".encode()})
    assert (answer.status_code, "Log out" in answer.text) == (200, False)


def test_wrong_tokens_are_refused_and_soon_no_more_are_looked_at(empty: World) -> None:
    site = Site(empty, operator_attempts_max=3)
    with logged() as lines:
        for wrong in ("no", "", TOKEN[:-1]):
            assert site.log_in(wrong).status_code == 401
    assert [line["event"] for line in lines if line["event"] != "request"] == ["operator.refused"] * 3
    blocked = site.log_in()
    assert (blocked.status_code, blocked.headers["retry-after"]) == (429, "900")
    assert site.log_in(peer="127.0.0.2").status_code == 303, "whoever comes from elsewhere is not kept out"
    empty.wait(901)
    assert site.log_in().status_code == 303


def test_a_wrong_token_is_not_repeated_anywhere(empty: World) -> None:
    site = Site(empty)
    with logged() as lines:
        answer = site.log_in("guess-that-is-wrong")
    assert "guess-that-is-wrong" not in answer.text + str(lines) + str(answer.headers)


# Forms ---------------------------------------------------------------------------------------------------------------


def test_nothing_is_done_for_who_is_not_logged_in(empty: World) -> None:
    site = Site(empty)
    for path in ("/act", "/contact"):
        answer = site.ask("POST", path, data={"what": "pause", "id": "crm", "token": "0" * 64})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert states(empty)["crm"] == "new"


FORGED: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "no token": ({"token": ""}, {}),
    "another token": ({"token": "0" * 64}, {}),
    "from another site": ({}, {"headers": {"sec-fetch-site": "cross-site"}}),
    "from a sister site": ({}, {"headers": {"sec-fetch-site": "same-site"}}),
}


@pytest.mark.parametrize(("form", "about"), FORGED.values(), ids=FORGED)
def test_a_form_that_another_site_made_is_not_taken(empty: World, form: dict[str, str], about: dict[str, Any]) -> None:
    site = Site(empty)
    site.log_in()
    right = {"what": "pause", "id": "crm", "email": "ann@example.org", "token": site.token()}
    for path in ("/act", "/contact", "/logout"):
        answer = site.ask("POST", path, data=right | form, **about)
        assert (answer.status_code, "Not taken" in answer.text) == (403, True), path
    assert states(empty)["crm"] == "new"
    assert logged_in(site)


BROKEN: dict[str, tuple[dict[str, Any], int]] = {
    "too large": ({"content": b"a=" + b"x" * 20_000}, 413),
    "not a form": ({"json": {"what": "pause"}}, 415),
    "not text": ({"content": b"what=%ff"}, 400),
    "a NUL": ({"content": b"what=%00"}, 400),
    "too many fields": ({"content": b"&".join(b"a%d=1" % n for n in range(200))}, 400),
}


@pytest.mark.parametrize(("about", "code"), BROKEN.values(), ids=BROKEN)
def test_a_form_that_is_none_is_refused(empty: World, about: dict[str, Any], code: int) -> None:
    site = Site(empty)
    assert site.ask("POST", "/login", **about).status_code == code
    site.log_in()
    for path in ("/act", "/contact", "/logout"):
        assert site.ask("POST", path, **about).status_code == code, path


# Acts ----------------------------------------------------------------------------------------------------------------


def states(world: World) -> dict[str, str]:
    return {row["name"]: row["state"] for row in world.rows("SELECT name, state FROM account")}


def waiting(open_small_world: Open) -> tuple[World, Site]:
    """Ann and Bob wait to be added; an operator is logged in."""
    world = open_small_world(first_sync="hold")
    person(world, "ann@example.org")
    person(world, "bob@example.org")
    world.settle(2)
    site = Site(world)
    site.log_in()
    return world, site


def test_an_approved_plan_goes(open_small_world: Open) -> None:
    world, site = waiting(open_small_world)
    for plan in held(world):
        page = site.act("approve", plan.id)
        assert f"Approved: 2 subscribe at {plan.account}" in page.text
    assert site.woken == ["operator"] * 2
    world.settle(2)
    assert world.mail.subscriber("154", "ann@example.org")
    assert "Approved" not in site.ask("GET", "/").text, "it is said once"


def test_a_plan_that_moved_is_refused_and_says_who_moved_and_where_the_rest_is(open_small_world: Open) -> None:
    world, site = waiting(open_small_world)
    plan = next(row for row in held(world) if row.account == "mail")
    person(world, "new@example.org")
    world.settle(1)
    page = site.act("approve", plan.id).text
    now = next(row for row in held(world) if row.account == "mail")
    assert "Refused." in page
    assert "moved since it was shown" in page
    assert "new@example.org" in page
    assert f'href="/plan/{now.id}"' in page
    assert not world.mail.subscriber("154", "ann@example.org")
    gone = site.ask("GET", f"/plan/{plan.id}")
    assert (gone.status_code, "new@example.org" in gone.text) == (404, True)
    stranger = Site(world)
    assert "new@example.org" not in stranger.ask("GET", f"/plan/{plan.id}").text


def test_a_rejected_plan_stays_and_a_claim_that_is_rejected_is_gone(open_small_world: Open) -> None:
    world, site = waiting(open_small_world)
    plan = next(row for row in held(world) if row.account == "mail")
    assert "Rejected: 2 subscribe at mail" in site.act("reject", plan.id).text
    world.settle(2)
    assert not world.mail.subscriber("154", "ann@example.org")
    assert "No plan nothing waits" in site.act("approve", "nothing").text


def test_a_listing_that_lost_many_is_approved_as_small_as_it_is(open_small_world: Open) -> None:
    world, site = waiting(open_small_world)
    with writing(world.app.engine) as connection:
        plans.hold_absence(connection, "crm", "L-1", "3 of 90 are left", 3, world.clock())
    plan = next(row for row in held(world) if row.hold == "absence")
    assert "that this listing may be as small as 3 records" in site.ask("GET", f"/plan/{plan.id}").text
    assert "the listing of L-1 at crm may be as small as 3 records" in site.act("approve", plan.id).text
    assert world.rows("SELECT rows_allowed FROM container WHERE container = 'L-1'") == [{"rows_allowed": 3}]


def test_accounts_are_paused_resumed_and_asked_for_a_round(empty: World) -> None:
    site = Site(empty)
    site.log_in()
    site.act("pause", "crm")
    assert states(empty)["crm"] == "paused"
    assert "its state is new" in site.act("resume", "crm").text
    site.act("sync", "crm")
    site.act("sync")
    asked = empty.rows("SELECT accounts FROM wake ORDER BY asked_at, id")
    assert [str(row["accounts"]) for row in asked] == ['["crm"]', "[]"]
    for what in ("pause", "resume", "sync"):
        assert "There is no account" in site.act(what, "<b>nobody</b>").text
    unknown = site.ask("POST", "/act", data={"token": site.token(), "what": "<i>erase</i>"})
    assert (unknown.status_code, "<i>" in unknown.text) == (400, False)


def test_what_is_parked_is_tried_again_and_an_id_that_is_none_says_so(open_small_world: Open) -> None:
    world = crowded(open_small_world(first_sync="hold"))
    site = Site(world)
    site.log_in()
    [delivery] = [row["id"] for row in world.rows("SELECT id FROM v_parked WHERE what = 'delivery'")]
    assert "The delivery is tried again" in site.act("retry", delivery).text
    assert not world.rows("SELECT id FROM v_parked WHERE what = 'delivery'")
    with logged() as lines:
        assert (
            "Nothing is parked under look-up/crm/L-1/ann@example.org"
            in site.act("retry", "look-up/crm/L-1/ann@example.org").text
        )
    assert "@" not in str(lines)


def test_a_person_is_explained_to_an_operator_and_stands_in_no_address_and_no_log(town: World) -> None:
    site = Site(town)
    site.log_in()
    with logged() as lines:
        page = site.ask("POST", "/contact", data={"token": site.token(), "email": " Shalom@Example.org "})
    assert page.status_code == 200
    assert "learnt from operator by" in page.text
    assert "A &#34;no&#34; for everything reaches" in page.text
    assert "shalom" not in str(lines).lower()
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "shalom" not in site.ask("GET", "/contact?email=shalom@example.org").text
    for email, said in {"nobody@example.org": "Nobody ever heard", "<b>x": "not an e-mail address"}.items():
        answer = site.ask("POST", "/contact", data={"token": site.token(), "email": email})
        assert (answer.status_code, said in answer.text, "<b>x" in answer.text) == (404, True, False)


def test_somebody_who_was_erased_is_said_to_be(open_small_world: Open) -> None:
    from syncd.sync.erase import erase

    world = open_small_world()
    person(world, "ann@example.org")
    world.settle(2)
    erase(world.app.context, Identity("ann@example.org"))
    site = Site(world)
    site.log_in()
    page = site.ask("POST", "/contact", data={"token": site.token(), "email": "ann@example.org"})
    assert "a keyed hash is all that is kept" in page.text
