"""The calls besides lists: what is sent is what the page shows, what comes back is read by name."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from syncd.domain.changes import Outcome
from syncd.domain.errors import MalformedError, RefusedError
from syncd.domain.hygiene import Verification
from syncd.providers.salesrocks import search, verify, warmer
from syncd.wire import converse

MAILBOX = warmer.Mailbox(
    sender_name="Example",
    email="jondoe@example.com",
    secret="s3cret-of-the-mailbox",
    smtp_host="smtp.example.com",
    smtp_port="465",
    smtp_encryption="ssl",
    permission="company",
    receiving_email="janedoe@example.com",
)
WARMING = warmer.Warming("johndoe@example.com", 3, 10, "2026-11-22 22:00:00", "America/Regina (GMT-06:00)", mature=True)


def calls_of(account):
    return account.adapter.calls


# -- validation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "score", "words", "status", "full"),
    [
        ("invalid.example", 12, "Invalid", "Invalid", False),
        ("catchall.example", 56, "Risky", "Accept All", False),
        ("likely.example", 75, "Likely", "Accept All", False),
        ("full.example", 85, "Valid with full inbox", "Valid", True),
        ("example.com", 95, "Valid", "Valid", False),
    ],
)
def test_an_address_gets_the_documented_verdict(account, domain, score, words, status, full):
    found = account.talk(verify.verify_email(calls_of(account), f"ann@{domain}"))
    assert (found.confidence_score, found.confidence_description, found.status) == (score, words, status)
    assert (found.top_level_domain, found.disposable, found.full_inbox, found.type) == (
        True,
        False,
        full,
        "Professional",
    )
    assert account.last_body() == {"email": f"ann@{domain}"}


@pytest.mark.quirk("salesrocks-verifier-two-samples")
def test_both_samples_of_the_verifier_are_read(account):
    """The first has no score, a message of its own, "Ok" for "Correct" and hosts in capitals with a dot."""
    account.emulator.services.bare = True
    found = account.talk(verify.verify_email(calls_of(account), "ann@invalid.example"))
    assert (found.confidence_score, found.status, found.format) == (None, "Invalid", "Ok")
    assert found.message == "Domain does not have email service set up"
    other = account.talk(verify.verify_email(calls_of(account), "ann@example.com"))
    assert (other.status, other.mx_records) == ("Valid", ("MX1.EXAMPLE.COM.", "MX2.EXAMPLE.COM."))


@pytest.mark.quirk("salesrocks-verifier-takes-one-address")
def test_the_verifier_is_asked_about_one_address_as_in_the_samples(account, client_of):
    """The text speaks of `emails` and a list."""
    assert client_of(account)("toolkit/emailVerifier", {"emails": ["ann@example.org"]}) == 400
    for email in ("ann@example.org", "bob@example.org"):
        assert account.talk(verify.verify_email(calls_of(account), email)).status == "Valid"
        assert account.last_body() == {"email": email}


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"email": "ann@example.org"},
        {"email": "ann@example.org", "status": None, "confidence_score": "high"},
        [1],
    ],
)
def test_a_verdict_without_status_and_score_is_none(account, answered, body):
    with pytest.raises(MalformedError):
        converse(verify.verify_email(calls_of(account), "ann@example.org"), answered(body))


def test_an_address_is_known_again_however_the_verifier_spells_it(account, answered):
    body = {"email": " Ann@EXAMPLE.org ", "status": "Valid"}
    found = converse(verify.verify_email(calls_of(account), "ann@Example.org"), answered(body))
    assert (found.email, found.status) == ("ann@Example.org", "Valid")


@pytest.mark.parametrize("told", ["bob@example.org", "", None, ["ann@example.org"], "absent"])
def test_a_verdict_about_somebody_else_is_none_about_ours(account, answered, told):
    body = {"email": told, "status": "Invalid", "confidence_score": 3}
    if told == "absent":
        del body["email"]
    with pytest.raises(MalformedError, match="not about the address") as raised:
        converse(verify.verify_email(calls_of(account), "ann@example.org"), answered(body))
    assert "example.org" not in str(raised.value)


def test_words_that_say_neither_yes_nor_no_are_unknown(account, answered):
    body = {
        "email": "ann@example.org",
        "status": "Valid",
        "disposable": "Perhaps",
        "full_inbox": None,
        "top_level_domain": True,
        "mx_records": "x",
    }
    found = converse(verify.verify_email(calls_of(account), "ann@example.org"), answered(body))
    assert (found.disposable, found.full_inbox, found.top_level_domain, found.mx_records) == (None, None, True, ())


def test_numbers_get_a_verdict_each_in_the_order_asked(account):
    asked = ["38922037347", "3897820b4075", "78418838"]
    found = account.talk(verify.verify_phones(calls_of(account), asked))
    assert [one.input for one in found] == asked
    assert [one.status for one in found] == ["VALID", "INVALID FORMAT", "INVALID"]
    valid = found[0]
    assert (valid.country_code, valid.country_isoCode, valid.country) == ("+389", "MK", "Macedonia")
    assert (valid.default, valid.international, valid.number_type) == ("38922037347", "+389 2 203 7347", "Fixed Line")
    assert valid.timezone == ("Europe/Skopje",)
    assert found[1].message == "The string supplied did not seem to be a phone number."
    assert account.talk(verify.verify_phones(calls_of(account), [])) == []
    assert account.paths().count("phoneVerifier") == 1


ONE, TWO = {"input": "1", "status": "VALID"}, {"input": "2", "status": "INVALID"}


@pytest.mark.parametrize(
    "body",
    [
        [],
        [ONE],
        [ONE, {}],
        [ONE, ONE],
        [{"status": "VALID"}, {"status": "VALID"}],
        [ONE, TWO | {"input": "3"}],
        [ONE, {"input": "2"}],
        [ONE, TWO, ONE | {"status": "INVALID"}],
        {"data": None},
        [1, 2],
    ],
)
def test_verdicts_that_are_not_one_for_each_number_prove_nothing(account, answered, body):
    with pytest.raises(MalformedError):
        converse(verify.verify_phones(calls_of(account), ["1", "2"]), answered(body))


@pytest.mark.quirk("salesrocks-verdicts-by-place")
def test_verdicts_are_taken_by_what_they_are_about_and_never_by_their_place(account, answered):
    """The page promises no order, and an array holds more than one number."""
    asked = ["+389 2 203 7347", "3897820b4075", "78418838"]
    found = account.talk(verify.verify_phones(calls_of(account), asked))
    account.emulator.services.reverses = True
    assert account.talk(verify.verify_phones(calls_of(account), asked)) == found
    assert [(one.input, one.status) for one in found] == list(
        zip(asked, ["VALID", "INVALID FORMAT", "INVALID"], strict=True)
    )
    spelt = [TWO, {"input": 1, "status": "valid"}, TWO | {"input": "4"}]
    told = converse(verify.verify_phones(calls_of(account), ["+1", "2"]), answered(spelt))
    assert [(one.input, one.status) for one in told] == [("+1", "VALID"), ("2", "INVALID")]


NUMBERS = {
    "Fixed Line": "441212345678",
    "Mobile": "447400123456",
    "Fixed line or Mobile": "12015550123",
    "Toll Free": "448001234567",
    "Premium Rate": "449012345678",
    "Shared Cost": "46771234567",
    "VOIP": "445612345678",
    "Personal Number": "447012345678",
    "Pager": "447640123456",
    "UAN": "445512345678",
    "Voicemail": "46254123456789",
}
"""A number of each documented kind; of Unknown there is none on purpose."""

NOT_CALLED = {"Premium Rate", "Shared Cost", "Pager", "Voicemail"}


@pytest.mark.quirk("salesrocks-kinds-of-numbers")
@pytest.mark.parametrize("kind", NUMBERS)
def test_each_kind_of_number_is_told_and_means_that_it_is_called_or_not(account, kind):
    (found,) = account.talk(verify.verify_phones(calls_of(account), [NUMBERS[kind]]))
    assert (found.status, found.number_type) == ("VALID", kind)
    said = account.talk(account.adapter.vet("ann@example.com", f"+{NUMBERS[kind]}"))
    assert said.phone_sound == (kind not in NOT_CALLED)
    assert said.phone_word == (kind.lower() if kind in NOT_CALLED else "")


@pytest.mark.parametrize(
    ("kind", "sound"),
    [("Unknown", True), (None, True), ("Satellite", True), ("premium rate", False), (" PAGER ", False), (5, True)],
)
def test_a_kind_that_nobody_knows_says_nothing_against_a_number(account, answered, in_turn, kind, sound):
    mail = {"email": "ann@example.com", "status": "Valid", "confidence_score": 95}
    number = {"input": "46701740605", "status": "VALID", "number_type": kind}
    said = converse(account.adapter.vet("ann@example.com", "+46701740605"), in_turn(answered(mail), answered([number])))
    assert said.phone_sound is sound


def test_which_kinds_are_not_called_is_configured(account_with):
    account = account_with(hygiene_refused_numbers=["mobile", "voip"])
    heard = {
        kind: account.talk(account.adapter.vet("ann@example.com", f"+{NUMBERS[kind]}")).phone_sound
        for kind in ("Mobile", "VOIP", "Pager")
    }
    assert heard == {"Mobile": False, "VOIP": False, "Pager": True}


def test_somebody_is_vetted_by_address_and_by_the_number_they_have(account):
    said = account.talk(account.adapter.vet("ann@catchall.example", ""))
    assert said == Verification(56, "accept all")
    assert account.paths() == ["emailVerifier"]
    said = account.talk(account.adapter.vet("ann@example.com", "+3897841883"))
    assert said == Verification(95, "valid", "+3897841883", phone_sound=False, phone_word="not valid")
    assert account.last_body() == {"phones": ["3897841883"]}
    account.emulator.services.bare = True
    assert account.talk(account.adapter.vet("ann@example.com", "+46701740605")) == Verification(
        None, "valid", "+46701740605"
    )


# -- search -----------------------------------------------------------------------------------------------------------


NAMED = {"first_name": "Jane", "last_name": "Doe"}
SEARCHES: dict[str, tuple[Any, dict[str, str], str]] = {
    "search/emailPatternsByDomain": (search.email_patterns, {"domain": "example.com"}, "{first}.{last}"),
    "search/linkedinContactsByDomain": (search.linkedin_contacts, {"domain": "example.com"}, "ann-lee-88806"),
    "search/companyEmailByCompanyLinkedinHandle": (
        search.company_email, {"linkedin_handle": "example-inc"}, "info@example-inc.com",
    ),
    "search/contactEmailsByCompanyLinkedinHandle": (
        search.contact_emails, {"linkedin_handle": "example-inc"}, "jane.doe@example-inc.com",
    ),
    "search/contactEmailByContactLinkedinHandle": (
        search.contact_email, {"linkedin_handle": "jane-doe-1"}, "jane.doe@example.com",
    ),
    "search/emailByFirstLastAndCompanyName": (
        search.email_by_company, NAMED | {"company_name": "Example Inc"}, "jane.doe@example-inc.com",
    ),
    "search/emailByFirstLastNameAndCompanyDomain": (
        search.email_by_domain, NAMED | {"company_domain": "example.com"}, "jane.doe@example.com",
    ),
    "enrichment/generateEmail": (search.generate_emails, NAMED | {"domain": "example.com"}, "j.doe@example.com"),
}  # fmt: skip
"""Path -> what asks for it, the body that the page shows, and something that is found then."""


@pytest.mark.parametrize("path", SEARCHES)
def test_what_is_searched_for_is_asked_and_found_as_the_page_shows(account, path):
    ask, body, something = SEARCHES[path]
    found = account.talk(ask(calls_of(account), *body.values()))
    assert (account.requests[-1].url, account.last_body()) == (f"{account.options.base_url}/{path}", body)
    values = [found] if isinstance(found, str) else found if isinstance(found, tuple) else asdict(found).values()
    assert something in values
    assert found == account.talk(ask(calls_of(account), *body.values())), "the same question"
    assert account.requests[-1].repeatable, "it changes nothing there"


@pytest.mark.parametrize("way", ["empty", "404"])
def test_nothing_found_is_empty_however_it_is_said(account, way):
    account.emulator.services.finds_nothing = way
    calls, talk = calls_of(account), account.talk
    assert list(talk(search.email_patterns(calls, "unknown.example"))) == []
    assert talk(search.company_email(calls, "unknown")) is None
    assert talk(search.contact_email(calls, "unknown")).contact_email is None
    assert talk(search.email_by_domain(calls, "A", "B", "unknown.example")).email is None


@pytest.mark.parametrize("body", [{"emails": "x"}, {"other": []}, {"email_patterns": {}}, [1], "text"])
def test_an_answer_of_another_shape_is_no_finding(account, answered, body):
    with pytest.raises(MalformedError):
        converse(search.email_patterns(calls_of(account), "example.com"), answered(body))
    with pytest.raises(MalformedError):
        converse(search.company_email(calls_of(account), "x"), answered({"wrong": 1}))


def test_a_refusal_does_not_repeat_who_was_searched_for(account, answered):
    error = {"error": {"status_code": 400, "message": "no Jane Doe at example"}}
    with pytest.raises(RefusedError) as raised:
        converse(search.email_by_company(calls_of(account), "Jane", "Doe", "example"), answered(error, 400))
    assert str(raised.value) == "emailByFirstLastAndCompanyName: 400 no … … at …"


@pytest.mark.quirk("salesrocks-contact-undocumented-members")
def test_a_contact_s_name_and_title_are_read_where_they_come(account):
    """A public client reads `full_name` and `job_title`, which the page does not document."""
    account.emulator.services.tells_more = True
    found = account.talk(search.contact_email(calls_of(account), "jane-doe"))
    assert asdict(found) == {
        "contact_email": "jane.doe@example.com", "full_name": "Jane Doe", "job_title": "Head of Sales",
    }  # fmt: skip


@pytest.mark.quirk("salesrocks-confidence-number-or-string")
def test_a_confidence_is_a_number_however_it_is_written(account):
    """A number in the sample, "string" in the table."""
    seen = set()
    for written in ("number", "string"):
        account.emulator.services.confidence_as = written
        seen.add(account.talk(search.email_by_domain(calls_of(account), "Jane", "Doe", "example.com")).confidence)
    assert len(seen) == 1
    assert isinstance(seen.pop(), int)


@pytest.mark.quirk("salesrocks-samples-of-another-request")
def test_an_address_at_another_domain_than_asked_is_handed_on_as_it_came(account, answered):
    """So the sample of Generate Email has it: whether an answer belongs to its request cannot be told from it."""
    body = {"emails": ["john@sales.rocks", "john.doe@sales.rocks"]}
    found = converse(search.generate_emails(calls_of(account), "John", "Doe", "example.com"), answered(body))
    assert list(found) == body["emails"]


def test_the_lists_of_an_address_come_with_names_and_dates(account):
    uuid = account.emulator.add_list("One")
    account.emulator.add_contact(uuid, "ann@example.org")
    (found,) = account.talk(search.lists_of(calls_of(account), "ann@example.org"))
    assert (found.id, found.list_name, found.date_of_creation) == ("26454", "One", "2026-11-21 09:00:00")


# -- what is made anew ------------------------------------------------------------------------------------------------


def test_a_connection_is_made_and_its_secret_is_nowhere_in_it(account):
    found = account.talk(warmer.create_email_connection(calls_of(account), MAILBOX))
    assert (found.id, found.email, found.host, found.imap_host) == ("1336", MAILBOX.email, "smtp.example.com", None)
    assert account.last_body() == {
        name: value for name, value in asdict(MAILBOX).items() if value is not None
    } | {"username": MAILBOX.email}  # fmt: skip
    kept = account.emulator.services.connections[MAILBOX.email]["data"]["secret"]
    for secret in (kept, MAILBOX.secret):
        assert secret not in repr(found)
        assert secret not in repr(MAILBOX)
        assert secret not in repr(account.requests[-1])
    assert not account.requests[-1].repeatable


@pytest.mark.quirk("salesrocks-flags-in-and-out")
@pytest.mark.quirk("salesrocks-ids-of-three-types")
def test_flags_go_in_as_true_and_come_out_as_text(account):
    """And ids are integers with capitals here (`user_ID`), text at getLists: all are kept as text."""
    account.emulator.add_list("One")
    account.talk(warmer.create_email_connection(calls_of(account), MAILBOX))
    warming = warmer.Warming(MAILBOX.email, 3, 10, "2026-11-22 22:00:00", "UTC", mature=True)
    found = account.talk(warmer.create_email_warmer(calls_of(account), warming))
    assert account.last_body()["mature"] is True
    raw = account.emulator.services.warmers[0]
    assert (raw["mature"], raw["stop_on_limit_reach"], raw["status"]) == ("1", "0", "1")
    assert (found.mature, found.stop_on_limit_reach, found.active) == (True, False, True)
    assert (raw["user_ID"], raw["connection_ID"]) == (634, 1336)
    assert (found.user_id, found.connection_id) == ("634", "1336")
    assert not account.requests[-1].repeatable
    (listed,) = account.talk(account.adapter.containers())
    assert listed.remote["id"] == "26454"


def test_a_warm_up_of_an_unknown_mailbox_is_refused(account):
    with pytest.raises(RefusedError, match="createEmailWarmer: 404"):
        account.talk(warmer.create_email_warmer(calls_of(account), WARMING))


@pytest.mark.parametrize("body", [{}, {"data": {}}, {"data": []}, {"data": {"id": None}}, {"data": "x"}])
def test_a_thing_without_an_id_was_not_made_as_far_as_we_know(account, answered, body):
    for exchange in (
        lambda: warmer.create_email_connection(calls_of(account), MAILBOX),
        lambda: warmer.create_email_warmer(calls_of(account), WARMING),
        lambda: warmer.create_list(calls_of(account), "x", "personal"),
    ):
        with pytest.raises(MalformedError):
            converse(exchange(), answered(body))


@pytest.mark.quirk("salesrocks-permission-words")
def test_permission_goes_in_as_personal_and_is_shown_as_private(account):
    """`permission` on create, `permissions` on read; a connection takes "private"."""
    created = account.talk(warmer.create_list(calls_of(account), "Mine", "personal"))
    assert account.last_body() == {"list_name": "Mine", "permission": "personal"}
    assert not account.requests[-1].repeatable
    (listed,) = account.talk(account.adapter.containers())
    assert listed.remote["permissions"] == "private"
    assert listed.id != created


# -- envelopes and documents ------------------------------------------------------------------------------------------


@pytest.mark.quirk("salesrocks-four-envelopes")
def test_success_comes_in_four_envelopes_and_an_error_is_one_in_any(account, answered):
    """status + status_code + message; status_code + data; status + data; a bare array. Some calls have none at all."""
    calls, emulator = calls_of(account), account.emulator
    uuid = emulator.add_list("One")
    emulator.add_contact(uuid, "ann@example.org")
    number = emulator.add_campaign("First", [uuid])
    asked = [
        ("/editable-lists/getLists", {"page": 1, "size": 1}, {"status", "status_code", "message", "data"}),
        ("/drip-campaign/getCampaignStatistics", {"campaign_id": int(number)}, {"status_code", "data"}),
        ("/connections/createEmailConnection", asdict(MAILBOX) | {"username": MAILBOX.email}, {"status", "data"}),
        ("/search/getListNameAndIds", {"email": "ann@example.org"}, None),
        ("/search/companyEmailByCompanyLinkedinHandle", {"linkedin_handle": "x"}, {"company_email"}),
    ]
    for path, body, members in asked:
        given = {name: value for name, value in body.items() if value is not None}
        answer = account.talk(calls.post(path[1:], given))
        raw = json.loads(bytes(answer.body))
        assert members == (None if isinstance(raw, list) else set(raw)), path
        assert bytes(answer.content)
        with pytest.raises(RefusedError):
            converse(calls.post(path[1:], given), answered({"error": {"status_code": 400, "message": "no"}}, 200))


@pytest.mark.quirk("salesrocks-samples-not-json")
def test_two_samples_of_the_page_are_not_json_and_the_service_says_so(account, client_of, update):
    """createEmailWarmer ends in a comma, updateListData has commas for colons; and all have lost their line breaks."""
    client = client_of(account)
    for path, body in (
        (
            "email-warmer/createEmailWarmer",
            b'{"connection_email": "johndoe@example.com","stop_on_limit_reach": false,}',
        ),
        ("editable-lists/updateListData", b'{"data": [{"_id", "6102a248d1c6bf3bbe40f632","last_name", "Doe"}]}'),
    ):
        assert client(path, body) == 400
    uuid = account.emulator.add_list("One")
    oid = account.emulator.add_contact(uuid, "ann@example.org")
    account.talk(warmer.create_email_connection(calls_of(account), MAILBOX))
    account.talk(warmer.create_email_warmer(calls_of(account), replace(WARMING, connection_email=MAILBOX.email)))
    sent = json.loads(account.requests[-1].body)
    assert (sent["stop_on_limit_reach"], len(sent)) == (False, 7), "ours are"
    account.apply(update(uuid, "ann@example.org", oid, last_name="Doe"))
    assert account.last_body() == {"data": [{"_id": oid, "name": "Doe"}]}
    assert account.emulator.contacts_of(uuid)[0]["name"] == "Doe"


@pytest.mark.quirk("salesrocks-tables-lost-underscores")
def test_members_are_named_as_in_the_samples(account, client_of):
    """The tables say `rampupincrement` and `contactlinkedinhandles`, and have lost the name of `email` altogether."""
    client = client_of(account)
    spelt = {"connection_email": "a@x.org", "rampupincrement": 3, "rampuplimit": 10, "stoponlimit_reach": False}
    assert (
        client("email-warmer/createEmailWarmer", spelt | {"mature": True, "timezone": "UTC", "start_date": "x"}) == 400
    )
    account.talk(search.linkedin_contacts(calls_of(account), "example.com"))
    account.talk(warmer.create_email_connection(calls_of(account), MAILBOX))
    sent = {name for request in account.requests for name in json.loads(request.body)}
    assert {"email", "receiving_email", "domain"} <= sent
    assert not any(name in sent for name in ("rampupincrement", "rampuplimit", "contactlinkedinhandles"))


@pytest.mark.quirk("salesrocks-add-to-list-makes-none")
def test_adding_to_a_list_that_is_not_there_makes_none(account, subscribe):
    """The table describes `list_id` as the name of a list to create: a row of another call."""
    (ack,) = account.apply(subscribe("My First Editable List", "ann@example.org"))
    assert (ack.outcome, ack.reason) == (Outcome.REFUSED, "addToList: 404 List not found")
    assert account.paths() == ["addToList"], "nor do we make one for it"
    assert account.emulator.lists == {}


@pytest.mark.quirk("salesrocks-oid-out-string-in")
def test_ids_of_contacts_come_as_objects_and_go_as_text(account, client_of, asked_for, update, unsubscribe):
    uuid = account.emulator.add_list("One")
    oid = account.emulator.add_contact(uuid, "ann@example.org")
    (row,) = account.emulator.contacts_of(uuid)
    assert row["_id"] == {"$oid": oid}
    assert client_of(account)("editable-lists/getContact", {"_id": row["_id"]}) == 400
    (seen,) = account.walk(uuid)
    assert seen.key == oid
    assert account.talk(account.adapter.lookup(asked_for(uuid, "ann@example.org", seen.key)))
    assert account.last_body() == {"_id": oid}
    account.apply(update(uuid, "ann@example.org", seen.key, last_name="Doe"))
    assert account.last_body()["data"][0]["_id"] == oid
    account.apply(unsubscribe(uuid, "ann@example.org", seen.key))
    assert account.last_body() == {"ids": [oid]}
    assert account.emulator.contacts_of(uuid) == []


@pytest.mark.quirk("salesrocks-get-contact-message")
def test_a_contact_comes_with_the_message_of_a_listing(account, answered, asked_for):
    """So nothing is read out of a message that tells the two calls apart: a contact is one whatever is said of it."""
    uuid = account.emulator.add_list("One")
    oid = account.emulator.add_contact(uuid, "ann@example.org")
    wanted = asked_for(uuid, "ann@example.org", oid)
    (seen,) = account.talk(account.adapter.lookup(wanted))
    answer = account.answer(account.adapter.authorise(account.requests[-1], account.token))
    told = json.loads(answer.body)
    assert told["message"] == "List data was successfully read."
    for message in ("Contact was successfully read.", "", None):
        (same,) = converse(account.adapter.lookup(wanted), answered(told | {"message": message}))
        assert (same.key, same.identity, same.status) == (seen.key, seen.identity, seen.status)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("toolkit/emailVerifier", {"email": "x"}),
        ("toolkit/phoneVerifier", {"phones": []}),
        ("toolkit/phoneVerifier", {"phones": "38922037347"}),
        ("search/emailPatternsByDomain", {"domain": "-x.com"}),
        ("search/emailPatternsByDomain", {"domain": "example.com", "page": 1}),
        ("search/companyEmailByCompanyLinkedinHandle", {}),
        ("search/emailByFirstLastAndCompanyName", {"first_name": "a", "last_name": "b"}),
        ("enrichment/generateEmail", {"first_name": "a", "last_name": " ", "domain": "x.com"}),
        ("connections/createEmailConnection", asdict(MAILBOX) | {"username": "other@example.com"}),
        ("email-warmer/createEmailWarmer", asdict(WARMING) | {"mature": "yes"}),
        ("email-warmer/createEmailWarmer", asdict(WARMING) | {"ramp_up_limit": "10"}),
        ("email-warmer/createEmailWarmer", asdict(WARMING) | {"start_date": "soon"}),
        ("editable-lists/getLists", {"page": 1, "size": 1, "sort": "name"}),
        ("auth/accessToken", {"username": "a", "password": "b", "grant_type": "password"}),
    ],
)
def test_the_emulator_refuses_what_the_page_does_not_describe(account, client_of, path, body):
    given = {name: value for name, value in body.items() if value is not None}
    assert client_of(account)(path, given) == 400


def test_the_emulator_refuses_everything_without_a_token(account):
    for path in account.emulator.services.calls:
        request = calls_of(account).request(path[1:], {})
        assert account.emulator.handle(request).status == 401, path
