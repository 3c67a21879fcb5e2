"""The emulated service is as strict, and as odd, as the real one is known to be."""

import hashlib
import json
from base64 import b64encode
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
from jsonschema import Draft202012Validator

from syncd.emulators.emulator import Fault, FaultKind
from syncd.emulators.rocketresponder import RocketResponderEmulator
from syncd.emulators.serve import bind_loopback, serving
from syncd.providers.rocketresponder.signature import canonical, canonical_json, signed_form
from syncd.wire import Request, Response

SCHEMAS = Path(__file__).parents[3] / "schemas" / "providers" / "rocketresponder"
BASE = "http://127.0.0.1:8703/api"
ACTIONS = ("subscribe", "confirm", "unsubscribe", "modify", "bounce", "open", "click")


def request(clock, call, params=(), *, key="priv_emulated", user="pub_emulated", time=None, **changed):
    time = int(clock().timestamp()) if time is None else time
    signed = signed_form(key, f"{BASE}/{call}", params, time)
    signature = changed.get("signature", signed.signature)
    headers = {
        "Authorization": "Basic " + b64encode(f"{user}:{signature}".encode()).decode(),
        "Content-Type": "application/x-www-form-urlencoded",
        **changed.get("headers", {}),
    }
    url = changed.get("url", f"{BASE}/{call}")
    return Request(changed.get("method", "POST"), url, headers, changed.get("body", signed.body))


def answer(emulator, *args, **kwargs):
    response = emulator.handle(request(emulator.now, *args, **kwargs))
    return json.loads(response.body)


def error(emulator, *args, **kwargs):
    body = answer(emulator, *args, **kwargs)
    assert body["status"] == "Failed"
    return body["error"]


def digest(text):
    return hashlib.md5(text.encode()).hexdigest()


# --- credentials -----------------------------------------------------------------------------------------------------

PAIR = [("email", "ann@example.org"), ("LID", "154")]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"key": "priv_wrong"}, "Invalid signature"),
        ({"user": "pub_wrong"}, "Invalid API key"),
        ({"signature": "0" * 32}, "Invalid signature"),
        ({"headers": {"Authorization": ""}}, "Missing API key"),
        ({"headers": {"Authorization": "Basic !!"}}, "Missing API key"),
        ({"headers": {"Authorization": "Basic eHl6"}}, "Missing API key"),
        ({"headers": {"Authorization": "Bearer eHl6Og=="}}, "Missing API key"),
        ({"headers": {"Content-Type": "application/json"}}, "expired"),
        ({"time": 0}, "expired"),
        ({"body": b"email=ann%40example.org"}, "expired"),
        ({"body": b"Time=now"}, "expired"),
        ({"method": "GET"}, "POST"),
    ],
)
def test_what_is_not_signed_is_not_served(emulator, lid, changed, text):
    assert text in error(emulator, "subscriber/lookup", PAIR, **changed)
    assert emulator.calls[-1].status == 200


@pytest.mark.parametrize(("off", "taken"), [(-601, False), (-600, True), (600, True), (601, False)])
def test_a_request_is_good_for_ten_minutes(emulator, lid, clock, off, taken):
    body = answer(emulator, "subscriber/lookup", PAIR, time=int(clock().timestamp()) + off)
    assert (body["status"] == "Success") is taken


def test_a_signature_over_sorted_keys_is_refused(emulator, lid, clock):
    params = [*PAIR, ("name", "Ann")]  # by value the name stands before the address, by key after it
    pairs = sorted([*params, ("Time", str(int(clock().timestamp())))])
    signature = digest("priv_emulated" + f"{BASE}/subscriber/subscribe" + digest(canonical_json(pairs)))
    body = urlencode(pairs).encode()
    assert "signature" in error(emulator, "subscriber/subscribe", params, signature=signature, body=body)
    assert answer(emulator, "subscriber/subscribe", params)["status"] == "Success"


def test_ties_are_ordered_as_received(emulator, lid, clock):
    # Equal values: the order in the body decides, so a body in another order than was signed is refused.
    emulator.add_subscriber(lid, "ann@example.org", "Ann")
    params = [("email", "ann@example.org"), ("newemail", "ann@example.org"), ("LID", lid), ("name", "Anna")]
    good = request(clock, "subscriber/modify", params)
    swapped = urlencode(list(reversed(canonical([*params, ("Time", int(clock().timestamp()))])))).encode()
    assert "signature" in error(emulator, "subscriber/modify", params, body=swapped)
    assert json.loads(emulator.handle(good).body)["status"] == "Success"


def test_text_that_is_not_utf8_signs_no_parameter_at_all(emulator, lid, clock):
    body = f"email=%ff&LID=154&Time={int(clock().timestamp())}".encode()
    signature = digest("priv_emulated" + f"{BASE}/subscriber/lookup" + digest(""))
    assert error(emulator, "subscriber/lookup", body=body, signature=signature) == "Invalid email address"


@pytest.mark.parametrize("status", [200, 401, 403, 500])
def test_failures_come_under_the_status_that_was_chosen(emulator, lid, clock, status):
    emulator.failure_status = status
    emulator.error_code_suffix = True
    response = emulator.handle(request(clock, "subscriber/unsubscribe", PAIR))
    assert response.status == status
    assert json.loads(response.body) == {"status": "Failed", "error": "Subscriber not found|32"}


def test_an_unknown_path_is_a_page(emulator, clock):
    response = emulator.handle(request(clock, "subscriber/delete", PAIR))
    assert (response.status, response.headers["content-type"]) == (404, "text/html")


def test_there_is_no_call_that_lists_subscribers(emulator):
    assert set(emulator._endpoints) == {
        "/list/all",
        "/list/create",
        "/subscriber/subscribe",
        "/subscriber/lookup",
        "/subscriber/modify",
        "/subscriber/unsubscribe",
    }


def test_writes_are_told_from_reads(emulator, lid, clock):
    for call in ("list/all", "subscriber/lookup", "list/create", "subscriber/subscribe", "subscriber/nothing"):
        emulator.handle(request(clock, call, PAIR))
    assert [call.write for call in emulator.calls] == [False, False, True, True, False]
    assert emulator.writes == 2


def test_faults_strike(emulator, clock):
    emulator.faults.append(Fault(FaultKind.HTML, "list/all"))
    assert emulator.handle(request(clock, "list/all")).body.startswith(b"<!doctype")


def test_slashes_and_letters_are_escaped_as_php_does(emulator, clock):
    emulator.add_list("Café / Bar")
    assert b'"Caf\\u00e9 \\/ Bar"' in emulator.handle(request(clock, "list/all")).body


# --- calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["subscribe", "lookup", "modify", "unsubscribe"])
@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"LID": "999"}, "List not found"),
        ({"LID": "154abc"}, "List not found"),
        ({"email": "nonsense"}, "Invalid email"),
        ({"email": ""}, "Invalid email"),
    ],
)
def test_parameters_are_validated(emulator, lid, call, changed, text):
    given = {"email": "ann@example.org", "LID": lid, "newemail": "ann@example.org", **changed}
    assert text in error(emulator, f"subscriber/{call}", list(given.items()))


@pytest.mark.parametrize(
    ("email", "taken"),
    [
        ("john+x@test.com", True),
        ("John_Doe.x@sub-domain.test.com", True),
        ("o'neil@test.com", False),
        ("a!b@test.com", False),
        ("a@b.email", False),
        ("a@b.technology", False),
        ("a@b.info\n", True),
    ],
)
def test_the_pattern_of_the_providers_own_client(emulator, lid, email, taken):
    emulator.strict_emails = True
    body = answer(emulator, "subscriber/lookup", [("email", email), ("LID", lid)])
    assert (body["status"] == "Success") is taken
    emulator.strict_emails = False
    assert answer(emulator, "subscriber/lookup", [("email", email), ("LID", lid)])["status"] == "Success"


def test_subscribing_waits_for_a_confirmation(emulator, lid, clock):
    made = answer(emulator, "subscriber/subscribe", [*PAIR, ("name", "Ann von Bee")])["subscriber"]
    assert (made["Status"], made["ConfirmTime"], made["First"], made["Last"]) == ("Unconfirmed", 0, "Ann", "von Bee")
    clock.forward(minutes=1)
    emulator.confirm(lid, "ann@example.org")
    there = answer(emulator, "subscriber/lookup", PAIR)["subscriber"]
    assert (there["Status"], there["ConfirmTime"]) == ("Confirmed", int(clock().timestamp()))


def test_single_opt_in_confirms_at_once(emulator, lid):
    emulator.double_opt_in = False
    assert answer(emulator, "subscriber/subscribe", PAIR)["subscriber"]["Status"] == "Confirmed"


def test_subscribing_twice_is_one_subscriber(emulator, lid):
    one, two = (answer(emulator, "subscriber/subscribe", PAIR)["subscriber"] for _ in range(2))
    assert one["ID"] == two["ID"]
    assert len(emulator.subscribers) == 1


@pytest.mark.parametrize("double_opt_in", [True, False])
def test_subscribing_brings_back_who_left_unless_told_otherwise(emulator, lid, clock, double_opt_in):
    emulator.double_opt_in = double_opt_in
    there = emulator.add_subscriber(lid, "ann@example.org", status="Unsubscribed")
    emulator.resubscribes = False
    assert "unsubscribed" in error(emulator, "subscriber/subscribe", PAIR)
    assert there.status == "Unsubscribed"
    emulator.resubscribes = True
    clock.forward(days=1)
    back = answer(emulator, "subscriber/subscribe", PAIR)["subscriber"]
    assert back["Status"] == ("Unconfirmed" if double_opt_in else "Confirmed")
    assert (back["ConfirmTime"] > back["UnsubTime"]) is not double_opt_in


def test_a_new_address_waits_and_the_old_one_leaves_when_it_confirms(emulator, lid, clock):
    emulator.add_subscriber(lid, "old@example.org", "Ann Bee")
    params = [("email", "old@example.org"), ("LID", lid), ("newemail", "New@example.org"), ("name", "Ann Cee")]
    answer(emulator, "subscriber/modify", params)

    def standing():
        return {key[1]: (one.status, one.name) for key, one in emulator.subscribers.items()}

    assert standing() == {"old@example.org": ("Confirmed", "Ann Bee"), "new@example.org": ("Unconfirmed", "Ann Cee")}
    clock.forward(hours=1)
    emulator.confirm(lid, "new@example.org")
    assert standing() == {"old@example.org": ("Unsubscribed", "Ann Bee"), "new@example.org": ("Confirmed", "Ann Cee")}
    old = emulator.subscriber(lid, "old@example.org")
    assert old is not None
    assert old.unsub_time == int(clock().timestamp())


def test_a_new_address_must_be_free(emulator, lid):
    emulator.add_subscriber(lid, "ann@example.org")
    emulator.add_subscriber(lid, "bob@example.org")
    assert "on this list" in error(emulator, "subscriber/modify", [*PAIR, ("newemail", "bob@example.org")])


def test_the_same_person_on_two_lists_is_two_subscribers(emulator, lid):
    other = emulator.add_list("Other")
    emulator.add_subscriber(lid, "ann@example.org")
    there = emulator.add_subscriber(other, "ann@example.org")
    answer(emulator, "subscriber/unsubscribe", PAIR)
    assert there.status == "Confirmed"


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"Name": ""}, "required"),
        ({"Address": " "}, "required"),
        ({"Permalink": "with space"}, "Permalink"),
        ({"Permalink": "tips"}, "Permalink"),
        ({"FromEmail": "me@Yahoo.com"}, "FromEmail"),
        ({"FromEmail": "me"}, "FromEmail"),
        ({"Notify": "3"}, "Notify"),
    ],
)
def test_new_lists_are_validated(emulator, lid, changed, text):
    good = {"Name": "N", "Permalink": "n1", "FromEmail": "n@x.org", "FromName": "N", "Address": "A", "Notify": ""}
    assert text in error(emulator, "list/create", list({**good, **changed}.items()))
    assert answer(emulator, "list/create", list(good.items()))["list"]["Permalink"] == "n1"


def test_a_look_up_may_be_late(emulator, lid, clock):
    emulator.add_subscriber(lid, "ann@example.org")
    clock.forward(seconds=60)
    emulator.person_unsubscribes(lid, "ann@example.org")
    clock.forward(seconds=10)

    def status():
        return answer(emulator, "subscriber/lookup", PAIR)["subscriber"].get("Status")

    for stale_for_s, word in ((0, "Unsubscribed"), (10, "Unsubscribed"), (30, "Confirmed"), (90, None)):
        emulator.stale_for_s = stale_for_s
        assert status() == word


def test_success_may_carry_an_empty_error(emulator, lid):
    emulator.empty_error = True
    assert answer(emulator, "subscriber/lookup", PAIR) == {"status": "Success", "error": "", "subscriber": {}}


def test_status_words_are_a_switch(emulator, lid):
    emulator.status_words = {**emulator.status_words, "confirmed": "Active"}
    emulator.add_subscriber(lid, "ann@example.org", status="Unconfirmed")
    emulator.confirm(lid, "ann@example.org")
    assert answer(emulator, "subscriber/lookup", PAIR)["subscriber"]["Status"] == "Active"


# --- webhooks --------------------------------------------------------------------------------------------------------


def test_every_act_posts_its_webhook_in_the_documented_shape(emulator, lid, clock):
    emulator.webhook_urls = {(lid, action): f"https://x.example/{action}" for action in ACTIONS}
    answer(emulator, "subscriber/subscribe", PAIR)
    emulator.confirm(lid, "ann@example.org")
    emulator.mail(lid)
    emulator.open_mail(lid, "ann@example.org")
    emulator.click(lid, "ann@example.org")
    answer(emulator, "subscriber/modify", [*PAIR, ("newemail", "ann@example.org"), ("name", "Anna")])
    emulator.bounce(lid, "ann@example.org")
    answer(emulator, "subscriber/unsubscribe", PAIR)
    sent = [r.url.rpartition("/")[2] for r in emulator.outgoing]
    assert sent == ["subscribe", "confirm", "open", "click", "modify", "bounce", "unsubscribe"]
    schema = Draft202012Validator(json.loads((SCHEMAS / "webhook.request.schema.json").read_text()))
    for webhook in emulator.outgoing:
        assert webhook.headers["content-type"] == "application/x-www-form-urlencoded"
        schema.validate(dict(parse_qsl(webhook.body.decode(), keep_blank_values=True)))
    last = dict(parse_qsl(emulator.outgoing[-1].body.decode()))
    assert (last["Name"], last["Open"], last["Bounce"], last["Unsubscribe"]) == ("Anna", "1", "1", "1")


def test_only_configured_actions_post_and_a_complaint_posts_nothing(emulator, lid):
    emulator.webhook_urls = {(lid, "open"): "https://x.example/open"}
    emulator.add_subscriber(lid, "ann@example.org")
    emulator.complain(lid, "ann@example.org")
    emulator.person_unsubscribes(lid, "ann@example.org")
    emulator.open_mail(lid, "ann@example.org")
    assert [r.url for r in emulator.outgoing] == ["https://x.example/open"]


@pytest.mark.loopback
@pytest.mark.parametrize("status", [201, 202, 204, 302, 500])
async def test_a_webhook_answered_with_anything_but_200_comes_four_times_more_as_it_was(emulator, lid, status):
    emulator.webhook_urls = {(lid, "open"): "https://x.example/open"}
    emulator.add_subscriber(lid, "ann@example.org")
    emulator.open_mail(lid, "ann@example.org")
    emulator.open_mail(lid, "ann@example.org")
    sent = []

    async def send(webhook):
        sent.append(webhook.body)
        return Response(status if len(sent) <= 5 else 200)

    async with serving([(emulator, bind_loopback(0))], send=send, retry_s=0.0001, poll_s=0.0001) as served:
        await served.settled()
    assert sent[:5] == [sent[0]] * 5
    assert (len(sent), served.given_up, served.delivered) == (6, 1, 1)


def test_the_same_seed_gives_the_same_service(clock):
    def story(seed):
        emulator = RocketResponderEmulator(clock, seed=seed)
        emulator.add_list("Tips")
        emulator.add_subscriber("154", "ann@example.org")
        return emulator.handle(request(clock, "subscriber/lookup", PAIR)).body

    assert story(1) == story(1)
    assert story(1) != story(2)
