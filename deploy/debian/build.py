"""Makes the Debian package: the locked libraries and the wheel in an environment below /opt/syncd, and what goes along.

    python deploy/debian/build.py [--output DIST]

Prints where the package is. The same checkout gives the same package, bit for bit. It needs dpkg-deb, the uv of this
checkout (`make env`), Debian's own Python with venv, and the package index for what uv has not downloaded before.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PYTHON = Path("/usr/bin/python3")
PLACE = Path("opt/syncd")
KEPT = ("python", "python3", "syncd")
"""What stays in its bin folder, beside the Python of that version: nobody asked for the tools of the libraries."""

SHIPPED = {
    "deploy/systemd/syncd.service": ("lib/systemd/system/syncd.service", 0o644),
    "deploy/debian/syncd": ("usr/bin/syncd", 0o755),
    "deploy/debian/lintian-overrides": ("usr/share/lintian/overrides/syncd", 0o644),
    "deploy/debian/copyright": ("usr/share/doc/syncd/copyright", 0o644),
    "deploy/README.md": ("usr/share/doc/syncd/README.md", 0o644),
    "deploy/syncd.toml.example": ("usr/share/doc/syncd/examples/syncd.toml", 0o644),
    "deploy/sysusers.d": ("usr/share/doc/syncd/examples/sysusers.d", 0o644),
    "deploy/nginx": ("usr/share/doc/syncd/examples/nginx", 0o644),
    "deploy/caddy": ("usr/share/doc/syncd/examples/caddy", 0o644),
    "deploy/datasette.json": ("usr/share/doc/syncd/examples/datasette.json", 0o644),
    "deploy/grafana": ("usr/share/doc/syncd/examples/grafana", 0o644),
    "deploy/prometheus": ("usr/share/doc/syncd/examples/prometheus", 0o644),
}
"""File or folder of the checkout -> its place in the package, and its mode. One that is not there is left out."""

MAINTAINER = "syncd <root@localhost>"
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
SCRIPTS = ("postinst", "prerm", "postrm")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tree-", dir=output) as folder:
        tree = Path(folder)
        tree.chmod(0o755)
        environment(tree, output)
        beside(tree)
        package = packed(tree, output)
    sys.stdout.write(f"{package}\n")
    return 0


# The environment -----------------------------------------------------------------------------------------------------


def environment(tree: Path, output: Path) -> None:
    """Exactly what uv.lock names, with the extra for notices by mail, and syncd, below `PLACE`."""
    place = tree / PLACE
    place.parent.mkdir(parents=True)
    run(["cp", "-a", "--reflink=auto", str(libraries(output)), str(place)])
    with tempfile.TemporaryDirectory() as folder:
        fetched([uv(), "build", "--quiet", "--wheel", "--out-dir", folder])
        [wheel] = Path(folder).glob("syncd-*.whl")
        fetched([*_into(place), str(wheel)])
    _at_its_place(place, Path("/") / PLACE)
    _tidied(place)
    [own] = place.glob("lib/python*/site-packages/syncd")
    _compiled(place, own, tree)


def libraries(output: Path) -> Path:
    """An environment with everything but syncd. Kept for the next time: it takes longest, and changes least."""
    wanted = output / ".libraries.txt"
    own = ["--no-dev", "--no-emit-project", "--no-header", "--extra", "notify"]
    run([uv(), "export", "--quiet", "--frozen", *own, "--output-file", str(wanted)])
    key = hashlib.sha256(wanted.read_bytes() + Path(__file__).read_bytes() + _version().encode()).hexdigest()[:16]
    kept = output / f".libraries-{key}"
    if not kept.exists():
        for old in output.glob(".libraries-*"):
            shutil.rmtree(old)
        fresh = output / ".libraries-unfinished"
        run([str(PYTHON), "-m", "venv", "--copies", "--without-pip", str(fresh)])
        fetched([*_into(fresh), "--require-hashes", "--requirements", str(wanted)])
        _compiled(fresh, fresh / "lib", fresh, below=Path("/") / PLACE)
        fresh.rename(kept)
    return kept


def _into(place: Path) -> list[str]:
    quiet = ["--quiet", "--no-deps", "--link-mode", "copy"]
    return [uv(), "pip", "install", *quiet, "--python", str(place / "bin/python")]


def uv() -> str:
    found = ROOT / ".uv/bin/uv"
    return str(found) if found.exists() else shutil.which("uv") or sys.exit("there is no uv here; first: make env")


def fetched(command: list[str]) -> None:
    """From what was downloaded before, where that is enough; from the index otherwise."""
    if run([*command, "--offline"], check=False):
        run(command)


def _at_its_place(place: Path, final: Path) -> None:
    """Scripts begin with the path of their Python, which is not where it was made."""
    for file in (place / "bin").iterdir():
        if file.name not in {*KEPT, f"python{_version()}"}:
            file.unlink()
    script = place / "bin/syncd"
    script.write_text(script.read_text().replace(str(place), str(final)))
    about = place / "pyvenv.cfg"
    about.write_text("".join(line for line in about.open() if not line.startswith("command")))


def _tidied(place: Path) -> None:
    """Without what tells of the machine it was made on, or is for compilers."""
    for pattern in ("dist-info/direct_url.json", "dist-info/uv_cache.json", "dist-info/REQUESTED"):
        name, _, file = pattern.partition("/")
        for found in place.glob(f"lib/python*/site-packages/*.{name}/{file}"):
            found.unlink()
    for found in place.glob("lib/python*/site-packages/*.dist-info/RECORD"):
        found.unlink()
    shutil.rmtree(place / "include", ignore_errors=True)
    (place / "lib64").unlink(missing_ok=True)


UNUSED = r"/phonenumbers/(geodata|carrierdata|tzdata)/"
"""Tables of places and carriers, which are never asked for: half of all the bytecode there would be."""


def _compiled(place: Path, folder: Path, strip: Path, below: Path = Path("/")) -> None:
    """Bytecode, since the service can write none; good whatever its time says. Tracebacks name the final place."""
    command = (
        "import compileall, py_compile, re, sys; what, strip, below, unused = sys.argv[1:]; "
        "compileall.compile_dir(what, quiet=2, workers=0, stripdir=strip, prependdir=below, rx=re.compile(unused),"
        " invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"
    )
    run([str(place / "bin/python"), "-I", "-c", command, str(folder), str(strip), str(below), UNUSED])


def _version() -> str:
    return asked(str(PYTHON), "-c", "import sys; print('%d.%d' % sys.version_info[:2])")


# What goes with it ---------------------------------------------------------------------------------------------------


def beside(tree: Path) -> None:
    for source, (target, mode) in SHIPPED.items():
        for file in files_of(ROOT / source):
            goal = tree / target / file.relative_to(ROOT / source)
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, goal)
            goal.chmod(mode)
    documents = tree / "usr/share/doc/syncd"
    (documents / "CHANGELOG.md.gz").write_bytes(gzip.compress((ROOT / "CHANGELOG.md").read_bytes(), mtime=0))
    (documents / "changelog.gz").write_bytes(gzip.compress(_changelog().encode(), mtime=0))
    (tree / "etc/syncd/credentials").mkdir(parents=True)
    (tree / "etc/syncd/credentials").chmod(0o700)


def _changelog() -> str:
    """In the form that Debian's tools read."""
    when = format_datetime(datetime.fromtimestamp(int(_when()), UTC))
    return f"syncd ({VERSION}) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- {MAINTAINER}  {when}\n"


def files_of(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path] if path.exists() else []


# The package ---------------------------------------------------------------------------------------------------------


def packed(tree: Path, output: Path) -> Path:
    machine = asked("dpkg", "--print-architecture")
    _modes(tree)
    control = tree / "DEBIAN"
    control.mkdir()
    control.chmod(0o755)
    size = sum(file.lstat().st_size for file in tree.rglob("*")) // 1024
    major, minor = map(int, _version().split("."))
    about = (
        (HERE / "control")
        .read_text()
        .format(
            maintainer=MAINTAINER,
            version=VERSION,
            architecture=machine,
            size=size,
            python=f"{major}.{minor}",
            next=f"{major}.{minor + 1}",
        )
    )
    (control / "control").write_text(about)
    for name in SCRIPTS:
        shutil.copyfile(HERE / name, control / name)
        (control / name).chmod(0o755)
    package = output / f"syncd_{VERSION}_{machine}.deb"
    run(
        ["dpkg-deb", "-Zzstd", "-z9", "--root-owner-group", "--build", str(tree), str(package)],
        env={"SOURCE_DATE_EPOCH": _when()},
    )
    return package


def _modes(tree: Path) -> None:
    """As anybody may read them, whatever mask this was made under."""
    for path in tree.rglob("*"):
        if path.is_symlink() or path == tree / "etc/syncd/credentials":
            continue
        program = path.stat().st_mode & 0o100 and ".so" not in path.suffixes
        path.chmod(0o755 if path.is_dir() or program else 0o644)


def _when() -> str:
    """When the last commit was made, or this version of the change log: no package says when it was built."""
    return asked("git", "log", "-1", "--format=%ct") or str(int((ROOT / "CHANGELOG.md").stat().st_mtime))


def asked(*command: str) -> str:
    """What a program prints; nothing where it cannot say."""
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout.strip()


def run(command: list[str], *, check: bool = True, env: dict[str, str] | None = None) -> int:
    """Run it, quiet unless it fails."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, cwd=ROOT, check=False, env={**kept, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if check and done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        sys.exit(f"failed: {' '.join(command)}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
