"""What is on the private machine: the package as it was built, its configuration, its secrets, and four providers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.service.machine import Machine

ROOT = Path(__file__).resolve().parents[2]
UNIT = "syncd.service"
PROVIDERS_UNIT = "providers.service"
RECEIVER = "http://127.0.0.1:8480"
DATABASE = "/var/lib/private/syncd/mirror.db"

PROVIDERS = """\
[Unit]
Description=Pretend providers on loopback
[Service]
Type=exec
DynamicUser=yes
ExecStart=/opt/syncd/bin/syncd emulate rocs salesrocks rocketresponder rokt --port 8701 --seed 3 --deliver-to {receiver}
"""

CONFIGURATION = """\
[mirror]
url = "sqlite:////var/lib/syncd/mirror.db"

[receiver]
listen = "127.0.0.1:8480"
public_url = "http://127.0.0.1:8480"

[schedule]
interval = "5s"
settle = "1s"

[guard]
first_sync = "go"

[accounts.crm]
provider = "rocs"
base_url = "http://127.0.0.1:8701"
token_url = "http://127.0.0.1:8701/oauth2/token"
client_id = "rocs-client"
resource = "https://api.msp-cloud.com"

[accounts.sales]
provider = "salesrocks"
base_url = "http://127.0.0.1:8702"
username = "sales@example.org"
on_unsubscribe = "field"

[accounts.mail]
provider = "rocketresponder"
base_url = "http://127.0.0.1:8703/api"
public_key = "pub_emulated"

[accounts.leads]
provider = "rokt"
unsubscribe_url = "http://127.0.0.1:8704/1.0/nurture/unsubscribe"
inbound_auth = { kind = "basic", username = "rokt" }
"""

SECRETS = {
    "accounts__crm__client_secret": "rocs-secret",
    "accounts__crm__webhook_secret": "rocs-hook-secret",
    "accounts__sales__password": "sales-secret",
    "accounts__mail__private_key": "priv_emulated",
    "accounts__mail__webhook_secret": "mail-hook-secret",
    "accounts__leads__api_key": "rokt-key",
    "accounts__leads__inbound_auth__password": "rokt-secret",
}
"""What the file does not hold: one file for each in /etc/syncd/credentials, as root alone may read them."""

ROKT = "Authorization: Basic cm9rdDpyb2t0LXNlY3JldA=="  # rokt:rokt-secret


@dataclass(frozen=True, slots=True)
class Site:
    """The built package, unpacked, and a folder to lay things out in."""

    package: Path
    unpacked: Path
    scratch: Path

    def payload(self, name: str) -> Path:
        """The tree of a machine on which the package lies, unpacked, with its configuration."""
        tree = self.scratch / name
        unit = "lib/systemd/system/syncd.service"
        _write(tree / "etc/systemd/system" / PROVIDERS_UNIT, PROVIDERS.format(receiver=RECEIVER))
        # Where dpkg would put it, lib is a link on this machine.
        _write(tree / "usr" / unit, (self.unpacked / unit).read_text())
        _write(tree / "usr/bin/syncd", (self.unpacked / "usr/bin/syncd").read_text(), 0o755)
        _write(tree / "etc/syncd/syncd.toml", configuration())
        for key, value in SECRETS.items():
            _write(tree / "etc/syncd/credentials" / key, f"{value}\n", 0o600)
        (tree / "etc/syncd/credentials").chmod(0o700)
        return tree

    def boot(self, name: str, *, again: bool = False, enabled: bool = False) -> Machine:
        """A machine with all of this. `again`: on the disk of the one before it under this name.

        `enabled`: it starts the service by itself. What is enabled inside is forgotten like all but the disk.
        """
        tree, disk = self.scratch / name, self.scratch / f"{name}.disk"
        if not again:
            self.payload(name)
            disk.mkdir()
        wanted = tree / "etc/systemd/system/multi-user.target.wants" / UNIT
        if enabled and not again:
            wanted.parent.mkdir()
            wanted.symlink_to(f"/lib/systemd/system/{UNIT}")
        return Machine(tree, disk, {self.unpacked / "opt/syncd": "/opt/syncd"})


def built(output: Path) -> Path:
    """The Debian package of this checkout."""
    command = [sys.executable, str(ROOT / "deploy/debian/build.py"), "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def configuration(**changed: str) -> str:
    """The file, with the list that all four have, and with some lines put in other's places."""
    from syncd.demo.stage import ACCOUNTS, IDS

    where = {ACCOUNTS[name]: ids["newsletter"] for name, ids in IDS.items() if name != "http"}
    text = CONFIGURATION + "\n[lists.newsletter]\n" + "".join(f'{name} = "{at}"\n' for name, at in where.items())
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    return text


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


# The service, from outside ------------------------------------------------------------------------------------------


def providers_up(machine: Machine) -> None:
    machine.systemctl("start", PROVIDERS_UNIT)
    machine.until(lambda: all(machine.http("GET", f"http://127.0.0.1:{port}/")[0] for port in range(8701, 8705)), "up")


def drop_in(machine: Machine, name: str, *lines: str) -> None:
    """Lines of [Service] beside the shipped unit; none takes them away."""
    path = f"/etc/systemd/system/{UNIT}.d/{name}.conf"
    if lines:
        machine.write(path, "\n".join(["[Service]", *lines, ""]))
    else:
        machine.run("rm", "-f", path)
    machine.systemctl("daemon-reload")


def rows(machine: Machine, query: str) -> list[list[object]]:
    """What the mirror holds, read beside the daemon."""
    program = (
        "import json, sqlite3, sys; "
        f"db = sqlite3.connect('file:{DATABASE}?mode=ro', uri=True, timeout=10); "
        "print(json.dumps(db.execute(sys.stdin.read()).fetchall()))"
    )
    found: list[list[object]] = json.loads(machine.run("/usr/bin/python3", "-I", "-c", program, given=query).stdout)
    return found


def active(machine: Machine) -> bool:
    return machine.properties(UNIT, "ActiveState")["ActiveState"] == "active"


def main_pid(machine: Machine) -> int:
    return int(machine.properties(UNIT, "MainPID")["MainPID"])


def says_no(machine: Machine, email: str) -> None:
    status, text = machine.http(
        "POST", f"{RECEIVER}/in/leads/unsubscribes", f'{{"email": "{email}"}}', [ROKT, "Content-Type: application/json"]
    )
    assert status in {200, 201}, text


def somebody(machine: Machine) -> str:
    """Who is subscribed at three places, and said nothing yet."""
    query = (
        "SELECT email FROM v_memberships WHERE status = 'subscribed' AND list = 'newsletter' "
        "AND email NOT IN (SELECT email FROM v_memberships WHERE status <> 'subscribed') "
        "GROUP BY email HAVING count(DISTINCT account) >= 3 ORDER BY 1 LIMIT 1"
    )
    found = machine.until(lambda: rows(machine, query), "somebody is at three places", 60)
    return str(found[0][0])


def unsubscribed(machine: Machine, email: str) -> bool:
    """Read back as unsubscribed wherever they are on the list, with nothing left to be sent."""
    quoted = email.replace("'", "''")
    query = f"SELECT DISTINCT status, grade FROM v_memberships WHERE email = '{quoted}' AND list = 'newsletter'"
    left = rows(machine, f"SELECT count(*) FROM v_outbox WHERE email = '{quoted}'")[0][0]
    return not left and {str(row[0]) for row in rows(machine, query)} <= {"unsubscribed", "removed"}


def back_after(machine: Machine, since: float, seconds: float = 60.0) -> float:
    """How long after `since` it was started and ready again."""
    machine.until(
        lambda: active(machine) and machine.moment(UNIT, "ActiveEnterTimestamp") > since, "it is back", seconds
    )
    return machine.moment(UNIT, "ActiveEnterTimestamp") - since
