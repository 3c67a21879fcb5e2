"""A first configuration, with a comment for every decision that somebody has to take."""

from __future__ import annotations

from collections.abc import Sequence

PROVIDERS = ("rocs", "salesrocks", "rocketresponder", "rokt")

_HEAD = """\
# What syncd keeps in agreement, and where. After every change: syncd config check [--online]
# Durations are a number and one of ms, s, m, h, d. Every secret `x` may also be given as `x_file`, as environment
# variable SYNCD_ACCOUNTS__NAME__X or as systemd credential syncd_accounts__name__x.

[mirror]
# Our copy: "sqlite:////absolute/path" (four slashes) or "postgresql+psycopg://USER@HOST/DATABASE".
url = "{url}"

[receiver]
# Leads, unsubscribes, webhooks, health, metrics and the status page. Put a proxy that speaks TLS in front of it.
listen = "127.0.0.1:8480"
#public_url = "https://sync.example.org"

[schedule]
# How often a round begins, and how often everything is read again even where only changes could be.
interval = "5m"
full_every = "24h"

[guard]
# Changes that are inferred, or that reach very many, wait for `syncd approve`. Somebody's own unsubscribe never does.
max_share = 0.05
max_count = 20
# The first round with an account: "hold" its additions, or let them "go".
first_sync = "hold"
"""

_ACCOUNTS = {
    "rocs": (
        "crm",
        "L-1",
        """
[accounts.crm]
provider = "rocs"
base_url = "https://api.msp-cloud.com"
token_url = "https://login.microsoftonline.com/TENANT/oauth2/token"
client_id = "CLIENT-ID"
client_secret_file = "credentials/crm_client_secret"
# One of the two: `resource` for tokens of Azure AD v1.0, `scope` for v2.0.
resource = "https://api.msp-cloud.com"
# What notices from ROCS are signed with.
webhook_secret_file = "credentials/crm_webhook_secret"
""",
    ),
    "salesrocks": (
        "sales",
        "LIST-UUID",
        """
[accounts.sales]
provider = "salesrocks"
username = "USER"
password_file = "credentials/sales_password"
# There is no unsubscribe call: "remove" deletes the person's rows from the linked lists, "field" writes a field.
on_unsubscribe = "remove"
""",
    ),
    "rocketresponder": (
        "mail",
        "154",
        """
[accounts.mail]
provider = "rocketresponder"
public_key = "PUBLIC-KEY"
private_key_file = "credentials/mail_private_key"
webhook_secret_file = "credentials/mail_webhook_secret"
# Nobody can be listed here, only looked up: how old what we know of somebody may become.
max_age = "24h"
""",
    ),
    "rokt": (
        "leads",
        "*",
        """
[accounts.leads]
provider = "rokt"
api_key_file = "credentials/leads_api_key"
# How Rokt proves itself to us: kind = "basic", "api_key" or "client".
inbound_auth = { kind = "basic", username = "rokt", password_file = "credentials/leads_password" }
""",
    ),
}

_CONNECTION = """
# New subscribers can be delivered to any other system by HTTP; `syncd connection test partner` tries it out.
#[accounts.partner]
#provider = "http"
#endpoint = "https://crm.example.org/api/subscribers"
#test_endpoint = "https://crm.example.org/api/test/subscribers"
#auth = { kind = "bearer", token_file = "credentials/partner_token" }
#fields = { email = "email", first_name = "firstname", last_name = "lastname" }
# Where it is told of every "no" of people whom it was given.
#unsubscribe = { endpoint = "https://crm.example.org/api/unsubscribes" }
"""

_LIST = """
# One table for each list of ours: its id at each account. Lists that are not named here are read and never written to.

[lists.newsletter]
{places}
# The connection from above: "*", or what the list is called there. Or later: syncd connection link partner newsletter
#partner = "*"
# What an unsubscribe from this list ends: everything with the same word. "global" is everything.
#scope = "newsletter"
"""


def skeleton(providers: Sequence[str] = PROVIDERS, url: str = "sqlite:////var/lib/syncd/mirror.db") -> str:
    """The text of a configuration with one account at each of these providers, and a connection as a comment."""
    chosen = [_ACCOUNTS[name] for name in providers]
    places = "\n".join(f'{account} = "{remote}"' for account, remote, _ in chosen)
    accounts = "".join(text for _, _, text in chosen)
    return _HEAD.format(url=url) + accounts + _CONNECTION + _LIST.format(places=places)
