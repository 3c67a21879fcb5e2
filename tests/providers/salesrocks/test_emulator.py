"""The emulator is as strict as the page, its switches do what they say, and the schemas can refuse."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from jsonschema import Draft202012Validator, ValidationError

from syncd.emulators.salesrocks import SalesRocksEmulator
from syncd.wire import Request, converse

SCHEMAS = Path(__file__).parents[3] / "schemas" / "providers" / "salesrocks"
L = "3eOWdnMBeufg1eXhALxM"


class Client:
    """Somebody who calls the service by hand, logged in; every well-formed exchange is held against the schemas."""

    def __init__(self, account):
        self.account = account
        account.token = converse(account.adapter.login(), account.answer)

    def raw(self, path, body=b"{}", *, method="POST", **headers):
        names = {"Content-Type": "application/json", "Authorization": f"Bearer {self.account.token.value}"}
        names |= {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.account.emulator.handle(Request(method, f"http://127.0.0.1:8702{path}", names, body))
        return response.status, json.loads(response.body)

    def call(self, path, **body):
        request = Request(
            "POST", f"http://127.0.0.1:8702{path}", {"content-type": "application/json"}, json.dumps(body).encode()
        )
        response = self.account.answer(self.account.adapter.authorise(request, self.account.token))
        return response.status, json.loads(response.body)

    def data(self, path, **body):
        status, answer = self.call(path, **body)
        assert status == 200
        return answer


@pytest.fixture
def client(account):
    account.emulator.add_list("News", L)
    return Client(account)


def refused(answer, status):
    assert answer[0] == status
    assert answer[1]["error"]["status_code"] == status


def test_only_post_only_json_only_known_paths_only_with_a_token(client):
    path = "/editable-lists/getLists"
    refused(client.raw(path, method="GET"), 405)
    refused(client.raw("/editable-lists/renameList"), 404)
    refused(client.raw(path, Content_Type="text/plain"), 400)
    refused(client.raw(path, b"{"), 400)
    refused(client.raw(path, b"[1]"), 400)
    refused(client.raw(path, Authorization=""), 401)
    refused(client.raw(path, Authorization="Basic abc"), 401)
    refused(client.raw(path, Authorization="Bearer made-up"), 401)
    assert client.raw(path, b"[]", Content_Type="application/json; charset=utf-8")[0] == 200


def test_a_token_looks_like_a_jwt_and_lives_an_hour_of_the_providers_clock(client):
    header, claims, _ = client.account.token.value.split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "=="))["typ"] == "JWT"
    read = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert read["exp"] - read["iat"] == 3600
    client.account.later(3599)
    client.data("/editable-lists/getLists", page=1, size=1)
    client.account.later(1)
    client.account.emulator.expired_status = 403
    refused(client.raw("/editable-lists/getLists"), 403)


def test_revoked_tokens_are_refused_at_once(client):
    client.account.emulator.revoke_tokens()
    refused(client.raw("/editable-lists/getLists"), 401)


@pytest.mark.parametrize("body", [{}, {"username": "sales@example.org"}, {"username": 1, "password": 2}])
def test_a_login_needs_both_parts(client, body):
    refused(client.raw("/auth/accessToken", json.dumps(body).encode()), 400)


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("editable-lists/getLists", {"page": 0, "size": 1}),
        ("editable-lists/getLists", {"page": 1, "size": True}),
        ("editable-lists/getListData", {"page": 1, "size": 1}),
        ("editable-lists/getListData", {"list_id": L, "page": "1", "size": 1}),
        ("editable-lists/getContact", {}),
        ("editable-lists/getContact", {"_id": {"$oid": "0" * 24}}),
        ("editable-lists/createList", {"list_name": " ", "permission": "personal"}),
        ("editable-lists/createList", {"list_name": "x", "permission": "world"}),
        ("editable-lists/createList", {"list_name": "x", "permission": ["company"]}),
        ("editable-lists/addToList", {"list_id": L}),
        ("editable-lists/addToList", {"list_id": L, "data": []}),
        ("editable-lists/addToList", {"list_id": L, "data": ["x"]}),
        ("editable-lists/deleteListData", {"ids": [{"$oid": "0" * 24}]}),
        ("editable-lists/deleteListData", {"ids": "x"}),
        ("editable-lists/updateListData", {"data": [{"name": "x"}]}),
        ("editable-lists/updateListData", {"data": [{"_id": "x", "list_id": "y"}]}),
        ("search/getListNameAndIds", {}),
        ("search/getListNameAndIds", {"email": "x"}),
        ("drip-campaign/getCampaignStatistics", {}),
        ("drip-campaign/getCampaignStatistics", {"campaign_id": True}),
    ],
)
def test_bodies_that_miss_the_documented_shape_are_refused(client, call, body):
    refused(client.raw(f"/{call}", json.dumps(body).encode()), 400)


def test_unknown_lists_and_campaigns_are_not_found(client):
    entry = client.account.emulator.lists[L]
    for name in ("nowhere", entry.id, entry.list_id):
        refused(client.call("/editable-lists/getListData", list_id=name, page=1, size=1), 404)
    refused(client.call("/drip-campaign/getCampaignStatistics", campaign_id=1), 404)


def test_errors_may_come_under_200(client):
    client.account.emulator.errors_in_200 = True
    status, answer = client.call("/drip-campaign/getCampaignStatistics", campaign_id=1)
    assert status == 200
    assert answer["error"]["status_code"] == 404


def test_a_list_has_three_names_of_three_shapes(client):
    created = client.data("/editable-lists/createList", list_name="New", permission="company")["list_id"]
    new = client.data("/editable-lists/getLists", page=2, size=1)["data"][0]
    assert (new["name"], new["permissions"]) == ("New", "company")
    assert len(created) == 12
    assert created == created.lower()
    assert len(new["uuid"]) == 20
    assert new["id"].isdigit()
    assert len({created, new["uuid"], new["id"]}) == 3
    refused(client.call("/editable-lists/getListData", list_id=created, page=1, size=1), 404)
    client.account.emulator.accept_list_id = True
    assert client.data("/editable-lists/getListData", list_id=created, page=1, size=1)["data"] == []


def test_contacts_are_free_of_schema_and_may_be_there_twice(client):
    row = {"email": "ann@example.org", "name": "Ann", "age": 24, "tags": ["a"], "_id": "mine", "list_id": "mine"}
    ids = client.data("/editable-lists/addToList", list_id=L, data=[row, row])["ids"]
    rows = client.data("/editable-lists/getListData", list_id=L, page=1, size=5)["data"]
    assert [one["_id"] for one in rows] == ids
    assert all(one["list_id"] == L and one["tags"] == ["a"] for one in rows)
    assert rows == client.account.emulator.contacts_of(L)


def test_updates_are_partial_and_count_what_they_touch(client):
    oid = client.account.emulator.add_contact(L, "ann@example.org", "Ann", age=24)
    rows = [{"_id": oid, "last_name": "Smith"}, {"_id": "0" * 24, "last_name": "x"}]
    assert client.data("/editable-lists/updateListData", data=rows)["message"] == "1 matched and 1 modified documents."
    assert client.data("/editable-lists/updateListData", data=rows)["message"] == "1 matched and 0 modified documents."
    (row,) = client.account.emulator.contacts_of(L)
    assert (row["name"], row["last_name"], row["age"]) == ("Ann", "Smith", 24)


def test_deleting_counts_what_was_there_across_lists(client):
    emulator = client.account.emulator
    other = emulator.add_list("Other")
    ids = [emulator.add_contact(L, "a@x.org"), emulator.add_contact(other, "a@x.org"), "0" * 24]
    assert client.data("/editable-lists/deleteListData", ids=ids)["message"] == "Successfully deleted 2 documents."
    assert emulator.contacts_of(L) == emulator.contacts_of(other) == []


def test_people_there_can_add_remove_and_edit(client):
    emulator = client.account.emulator
    emulator.add_contact(L, "ann@example.org", city="Skopje")
    emulator.add_contact(L, "Ann@Example.org")
    emulator.add_contact(L, "bob@example.org")
    assert emulator.set_field(L, "ANN@example.org", "status", "unsubscribed") == 2
    assert [row.get("status") for row in emulator.contacts_of(L)] == ["unsubscribed", "unsubscribed", None]
    assert emulator.remove_contact(L, "ann@example.org") == 2
    assert emulator.remove_contact(L, "ann@example.org") == 0
    assert [row["email"] for row in emulator.contacts_of(L)] == ["bob@example.org"]


def test_times_name_no_zone_and_are_in_the_servers(client):
    emulator = client.account.emulator
    emulator.zone = ZoneInfo("America/Regina")
    assert client.data("/editable-lists/getLists", page=1, size=1)["data"][0]["created_at"] == "2026-11-21 03:00:00"


@pytest.mark.parametrize(("moves", "after"), [(True, "2026-11-21 09:01:00"), (False, "2026-11-21 09:00:00")])
def test_whether_a_list_shows_that_its_contacts_changed_is_a_switch(client, moves, after):
    client.account.emulator.updated_moves = moves
    client.account.later(60)
    client.account.emulator.add_contact(L, "a@x.org")
    assert client.data("/editable-lists/getLists", page=1, size=1)["data"][0]["updated_at"] == after


def test_lists_are_found_by_contact_or_by_owner(client):
    emulator = client.account.emulator
    emulator.add_contact(L, "ann@example.org")
    number = emulator.add_campaign("First", [L])
    (found,) = client.data("/search/getListNameAndIds", email="Ann@example.org")
    assert (found["id"], found["campaigns"]) == (26454, [{"id": int(number), "name": "First"}])
    assert client.data("/search/getListNameAndIds", email="bob@example.org") == []
    emulator.finds_by_owner = True
    assert client.data("/search/getListNameAndIds", email="ann@example.org") == []
    assert len(client.data("/search/getListNameAndIds", email=emulator.username)) == 1


def test_writes_are_told_from_reads_and_logins(client):
    emulator = client.account.emulator
    client.data("/editable-lists/getListData", list_id=L, page=1, size=1)
    assert emulator.writes == 0
    (oid,) = client.data("/editable-lists/addToList", list_id=L, data=[{"email": "a@x.org"}])["ids"]
    client.data("/editable-lists/updateListData", data=[{"_id": oid["$oid"], "a": 1}])
    client.data("/editable-lists/deleteListData", ids=[oid["$oid"]])
    client.data("/editable-lists/createList", list_name="x", permission="personal")
    assert emulator.writes == 4


def test_a_base_address_may_have_a_path(account):
    emulator = SalesRocksEmulator(lambda: account.at, base_url="http://127.0.0.1:1/salesrocks/")
    request = Request("POST", "http://127.0.0.1:1/salesrocks/editable-lists/getLists", {}, b"{}")
    assert emulator.handle(request).status == 400
    assert not emulator.is_write(request)


def test_one_seed_gives_one_history(account):
    def history(seed):
        emulator = SalesRocksEmulator(lambda: account.at, seed=seed)
        uuid = emulator.add_list("x")
        return uuid, emulator.add_contact(uuid, "a@x.org")

    assert history(1) == history(1)
    assert history(1) != history(2)


def test_a_walk_over_100000_contacts_costs_no_more_by_contact_than_a_short_one(account):
    emulator, adapter = account.emulator, account.adapter
    emulator.add_list("News", L)
    for n in range(100_000):
        emulator.add_contact(L, f"person{n}@example.org", f"Ann Smith{n}", city="Skopje", company="Example")
    account.token = converse(adapter.login(), account.answer)
    spent = 0.0

    def carry(request):
        nonlocal spent
        started = time.process_time()
        response = emulator.handle(adapter.authorise(request, account.token))
        spent += time.process_time() - started
        return response

    started, keys, page = time.process_time(), [], converse(adapter.snapshot(L, None), carry)
    while page.records:
        keys += [record.key for record in page.records]
        page = converse(adapter.snapshot(L, page.next), carry) if page.next else page._replace(records=())
    adapter_s = time.process_time() - started - spent
    assert len(set(keys)) == len(keys) == 100_000
    assert len(emulator.calls) == 102
    # About four times what it takes: what this must catch is a page that costs as much as the whole list.
    assert adapter_s / len(keys) < 20e-6
    assert spent / len(keys) < 20e-6


def test_reading_a_plain_record_is_cheap(account):
    adapter, emulator = account.adapter, account.emulator
    emulator.add_list("News", L)
    emulator.add_contact(L, "ann@example.org", "Ann Smith", city="Skopje", company="Example", phone="+46701740605")
    (record,) = next(account.pages(L))
    started = time.process_time()
    for _ in range(5_000):
        adapter.read(L, record)
    assert (time.process_time() - started) / 5_000 < 50e-6


# -- schemas ----------------------------------------------------------------------------------------------------------


def test_every_call_and_every_file_of_the_schemas_is_in_the_index():
    index = json.loads((SCHEMAS / "index.json").read_text())
    named = {entry["request"] for entry in index.values()}
    named |= {file for entry in index.values() for file in entry["response"].values()}
    assert named == {path.name for path in SCHEMAS.glob("*.schema.json")}
    assert len(index) == 22
    for path in SCHEMAS.glob("*.schema.json"):
        schema = json.loads(path.read_text())
        Draft202012Validator.check_schema(schema)
        assert schema["$comment"].startswith("https://docs.sales.rocks/")


@pytest.mark.parametrize(
    ("file", "document"),
    [
        ("accessToken.response", {"token_type": "Bearer", "expires_in": 3600}),
        ("getContact.request", {"_id": {"$oid": "0" * 24}}),
        ("deleteListData.request", {"ids": []}),
        ("getListData.request", {"list_id": "u", "page": 0, "size": 1}),
        ("addToList.response", {"status": "success", "status_code": 200, "message": "Inserted.", "ids": []}),
        ("getListNameAndIds.response", {"data": []}),
        ("error", {"message": "Not found"}),
    ],
)
def test_the_schemas_can_refuse(file, document):
    validator = Draft202012Validator(json.loads((SCHEMAS / f"{file}.schema.json").read_text()))
    with pytest.raises(ValidationError):
        validator.validate(document)
