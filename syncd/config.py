"""Settings, from one TOML file, the environment and systemd credentials; all faults are reported at once.

What counts, strongest first: environment (`SYNCD_ACCOUNTS__CRM__CLIENT_SECRET`), credential
(`$CREDENTIALS_DIRECTORY/syncd_accounts__crm__client_secret`), the file (`client_secret` or `client_secret_file`),
the default. No message ever holds the value of a secret.
"""

from __future__ import annotations

import copy
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from inspect import isclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from syncd.domain.errors import ConfigurationError, Problem
from syncd.providers.fields import CANONICAL, Kind, form_fault
from syncd.providers.forms import FORMS, FormsOptions
from syncd.providers.options import AccountOptions, Options, seconds
from syncd.providers.registry import REGISTRY
from syncd.settings import (
    HOLDS_PASSWORD,
    LIST_KEYS,
    SECTIONS,
    TABLES,
    FieldSettings,
    ListSettings,
    ReceiverSettings,
    Settings,
    SubscribeFormSettings,
    leaves,
    masked,
    origin,
)

__all__ = ["ListSettings", "Settings", "find", "load", "masked", "origin"]

M = TypeVar("M", bound=BaseModel)

SYSTEM_FILE = Path("/etc/syncd/syncd.toml")
SECRET_BYTES_MAX = 65_536

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_FIELD = re.compile(r"[a-z][a-z0-9_]*")

NO_FIELDS = ("email", "email_sha256", "email_md5", "campaign", "list")
"""Names that accounts may map, and that say who somebody is, where they come from, or where they go."""


# -- reading --------------------------------------------------------------------------------------------------------


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """All settings, or `ConfigurationError` with every fault that can be found."""
    source = find(path, environ)
    reading = _Reading(environ, source, {} if source is None else _document(source))
    if source is None and not reading.overrides:
        looked = ", ".join(map(str, _usual_places(environ)))
        raise ConfigurationError(
            "configuration",
            [Problem("configuration", f"there is none; looked for {looked}", "syncd init, or --config FILE")],
        )
    return reading.settings()


def find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that counts: the one named, else `$SYNCD_CONFIG`, else the first of the usual places that is there."""
    if path is not None:
        return path
    if named := environ.get("SYNCD_CONFIG"):
        return Path(named)
    return next((place for place in _usual_places(environ) if place.exists()), None)


def _usual_places(environ: Mapping[str, str]) -> list[Path]:
    places = [SYSTEM_FILE]
    if base := environ.get("XDG_CONFIG_HOME"):
        places.append(Path(base) / "syncd" / "syncd.toml")
    elif home := environ.get("HOME"):
        places.append(Path(home) / ".config" / "syncd" / "syncd.toml")
    return places


def _document(source: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(source.read_bytes().decode())
    except OSError as error:
        problem = Problem(str(source), f"cannot be read: {error.strerror}", "syncd init, or --config FILE")
    except UnicodeDecodeError as error:
        problem = Problem(f"byte {error.start}", "the file is not UTF-8")
    except tomllib.TOMLDecodeError as error:
        # "Cannot overwrite a value (at line 3, column 5)"; the text holds keys and punctuation, never a value.
        what, _, at = str(error).rstrip(")").partition(" (at ")
        problem = Problem(at or "end of file", f"not TOML: {what}")
    raise ConfigurationError(str(source), [problem])


# -- what a field is ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the loader must know of a field to read it from text or file."""

    secret: bool = False
    several: bool = False
    duration: bool = False
    tables: tuple[type[BaseModel], ...] = ()


def _shapes(models: Sequence[type[BaseModel]]) -> dict[str, _Shape]:
    """The fields of a table that may be any of these models."""
    return {
        key: _shape([about.annotation, *about.metadata])
        for model in models
        for key, about in model.model_fields.items()
    }


def _shape(annotations: Sequence[Any]) -> _Shape:
    parts = [part for annotation in annotations for part in _parts(annotation)]
    return _Shape(
        secret=any(part is SecretStr or part is HOLDS_PASSWORD for part in parts),
        several=any(get_origin(part) in {list, tuple} for part in parts),
        duration=any(isinstance(part, BeforeValidator) and part.func is seconds for part in parts),
        tables=tuple(part for part in parts if isclass(part) and issubclass(part, BaseModel)),
    )


def _parts(annotation: Any) -> Iterator[Any]:
    """A type and everything it is made of: union members, items, the metadata of `Annotated`."""
    yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


# -- from layers to settings ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Override:
    """One value from outside the file. `name` is what the operator called it."""

    layer: str
    name: str
    path: tuple[str, ...]
    text: str = field(repr=False)


class _Reading:
    """One reading of the configuration: the layers put over each other, then the models, and every fault on the way."""

    def __init__(self, environ: Mapping[str, str], source: Path | None, document: dict[str, Any]) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.source = source
        self.document = copy.deepcopy(document)
        self.origins: dict[str, str] = dict.fromkeys(leaves(self.document), "file")
        self.names: dict[str, str] = {}
        self.holds_secrets = False
        # A provider before the other keys of its account, since it says what these are; then weakest first.
        self.overrides = [*self._credentials(environ.get("CREDENTIALS_DIRECTORY")), *_variables(environ)]
        self.overrides.sort(key=lambda override: (override.path[-1] != "provider", override.layer == "env"))

    def settings(self) -> Settings:
        self._must_be_tables()
        for override in self.overrides:
            self._lay_over(override)
        sections = {name: self._section(name, model) for name, model in SECTIONS.items()}
        fields = self._fields()
        accounts = self._accounts()
        self._mapped(fields, accounts)
        lists = self._lists(list(self.document.get("accounts", {})))
        self._subscribe_form(sections, accounts, lists)
        if self.problems:
            raise ConfigurationError(str(self.source or "environment"), self.problems)
        if self.source and self.holds_secrets and self.source.stat().st_mode & stat.S_IROTH:
            self.warnings.append(f"{self.source} holds secrets and can be read by everybody; chmod 640 {self.source}")
        return Settings.model_validate(
            {
                **sections,
                "accounts": accounts,
                "lists": lists,
                "fields": fields,
                "source": self.source,
                "warnings": tuple(self.warnings),
                "origins": self.origins,
            }
        )

    def _problem(self, where: str, what: str, hint: str = "") -> None:
        came_from = self.names.get(where)
        self.problems.append(Problem(where, f"{what} (from {came_from})" if came_from else what, hint))

    def _must_be_tables(self) -> None:
        """Leave only tables where tables belong, so that the rest need not ask."""
        for key, value in list(self.document.items()):
            if key not in TABLES:
                self._problem(key, "unknown section", _nearest(key, TABLES))
                del self.document[key]
            elif not isinstance(value, dict):
                self._problem(key, f"must be a table: write [{key}]")
                del self.document[key]
        for kind in ("accounts", "lists", "fields"):
            for name, value in list(self.document.get(kind, {}).items()):
                if not isinstance(value, dict):
                    self._problem(f"{kind}.{name}", f"must be a table: write [{kind}.{name}]")
                    del self.document[kind][name]

    # -- overrides

    def _credentials(self, directory: str | None) -> Iterator[_Override]:
        """What systemd handed over (`LoadCredential=`), one file for each value."""
        if not directory:
            return
        for path in sorted(Path(directory).glob("syncd_*__*")):
            text = self._text_of(path, path.name)
            if text is not None:
                segments = tuple(path.name.lower().removeprefix("syncd_").split("__"))
                yield _Override("credential", path.name, segments, text)

    def _lay_over(self, override: _Override) -> None:
        """Put one value from outside into the document, in place of what weaker layers say."""
        section, *rest = override.path
        if section not in TABLES or not rest or not all(rest):
            self._problem(override.name, "names no setting", _nearest(section, TABLES))
            return
        table, where = self.document.setdefault(section, {}), section
        models: list[type[BaseModel]] = [SECTIONS.get(section, Options)]
        if section in {"accounts", "lists", "fields"}:
            name = _matching(rest.pop(0), table)
            if not rest:
                self._problem(override.name, "names no setting", f"write a key after it: {override.name}__KEY")
                return
            if name not in table and section == "accounts" and rest != ["provider"]:
                self._problem(override.name, f"there is no account `{name}`", _nearest(name, table))
                return
            table, where = table.setdefault(name, {}), f"{section}.{name}"
            if section == "accounts":
                models = _models_of(table)
            elif section == "fields":
                models = [FieldSettings]
            else:
                rest[0] = _matching(rest[0], (*LIST_KEYS, *self.document.get("accounts", {})))
        self._set(table, models, where, rest, override)

    def _set(
        self, table: Any, models: Sequence[type[BaseModel]], where: str, keys: list[str], override: _Override
    ) -> None:
        for key in keys[:-1]:
            shape = _shapes(models).get(key, _Shape())
            table = _inner(table, key)
            models, where = shape.tables or models, f"{where}.{key}"
        key = keys[-1]
        where = f"{where}.{key}"
        if not isinstance(table, dict):
            self._problem(override.name, "names no setting")
            return
        base = key.removesuffix("_file")
        for other in (base, f"{base}_file"):
            table.pop(other, None)
        value = table[key] = _value(override.text, _shapes(models).get(key, _Shape()))
        self.origins = {old: layer for old, layer in self.origins.items() if not old.startswith(f"{where}.")}
        self.origins.update(dict.fromkeys(leaves({where: value}), override.layer))
        self.names[where] = override.name

    # -- files

    def _read_files(self, table: dict[str, Any], models: Sequence[type[BaseModel]], where: str) -> None:
        """Replace every `x_file` of a secret `x` by what the file holds."""
        shapes = _shapes(models)
        for key, value in list(table.items()):
            base = key.removesuffix("_file")
            shape = shapes.get(key, _Shape())
            if base != key and key not in shapes and shapes.get(base, _Shape()).secret:
                del table[key]
                if base in table:
                    self._problem(f"{where}.{key}", f"both {base} and {key} are given", "keep one of them")
                else:
                    table[base] = self._from_files(value, f"{where}.{key}", several=shapes[base].several)
                    self.origins[f"{where}.{base}"] = self.origins.pop(f"{where}.{key}", "file")
            elif shape.secret and where != "mirror" and self.origins.get(f"{where}.{key}") == "file":
                self.holds_secrets = True
            elif isinstance(value, dict) and shape.tables:
                self._read_files(value, shape.tables, f"{where}.{key}")
            elif isinstance(value, list) and shape.tables:
                for index, inner in enumerate(value):
                    if isinstance(inner, dict):
                        self._read_files(inner, shape.tables, f"{where}.{key}.{index}")

    def _from_files(self, value: Any, where: str, *, several: bool) -> Any:
        paths = value if several and isinstance(value, list) else [value]
        if not paths or not all(isinstance(path, str) and path for path in paths):
            self._problem(where, "must be the path of a file")
            return _UNREAD
        base = self.source.parent if self.source else Path()
        texts = [self._text_of(base / path, where, private=True) or _UNREAD for path in paths]
        values = [_value(text, _Shape(secret=True, several=several)) for text in texts]
        return values[0] if len(values) == 1 else values

    def _text_of(self, path: Path, where: str, *, private: bool = False) -> str | None:
        """The stripped text of a file that holds one value; None, and a problem noted, where there is none."""
        try:
            with path.open("rb") as file:
                content = file.read(SECRET_BYTES_MAX + 1)
                mode = os.fstat(file.fileno()).st_mode
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a path"
            self._problem(where, f"cannot read {path}: {reason}")
            return None
        if private and stat.S_ISREG(mode) and mode & stat.S_IROTH:
            self.warnings.append(f"{where}: {path} can be read by everybody; chmod 600 {path}")
        try:
            text = content.decode().strip()
        except UnicodeDecodeError:
            self._problem(where, f"{path} is not UTF-8 text")
            return None
        if not text:
            self._problem(where, f"{path} is empty")
        elif len(content) > SECRET_BYTES_MAX:
            self._problem(where, f"{path} is larger than {SECRET_BYTES_MAX} bytes")
        return text or None

    # -- models

    def _section(self, name: str, model: type[Options]) -> Options | None:
        return self._validated(self.document.get(name, {}), model, name)

    def _accounts(self) -> dict[str, AccountOptions]:
        tables = self.document.get("accounts", {})
        known = ", ".join(REGISTRY)
        if not tables and not any(problem.where.startswith("accounts") for problem in self.problems):
            self._problem("accounts", "there are none", f"write [accounts.NAME] with provider = one of {known}")
        accounts = {}
        for name, table in tables.items():
            where, provider = f"accounts.{name}", table.get("provider")
            if not _NAME.fullmatch(name) or "__" in name or name in LIST_KEYS:
                self._problem(where, "not a name for an account", _NAMING)
            if provider is None:
                self._problem(f"{where}.provider", "missing", f"one of {known}")
            elif not isinstance(provider, str) or provider not in REGISTRY:
                hint = _nearest(str(provider), REGISTRY) or f"one of {known}"
                self._problem(f"{where}.provider", f"unknown provider `{provider}`", hint)
            elif options := self._validated(table, REGISTRY[provider].options, where):
                accounts[name] = options
        return accounts

    def _fields(self) -> dict[str, FieldSettings]:
        """What is declared of fields: canonical ones have their kind, any other name is a field of our own."""
        accounts = self.document.get("accounts", {})
        fields = {}
        for name, table in self.document.get("fields", {}).items():
            where = f"fields.{name}"
            if not _FIELD.fullmatch(name) or name in NO_FIELDS:
                self._problem(where, "not a name for a field", "a to z, 0 to 9 and _; email and campaign are taken")
                continue
            one = self._validated(table, FieldSettings, where)
            if one is None:
                continue
            fields[name] = one
            if one.owner is not None and one.owner not in accounts:
                self._problem(f"{where}.owner", f"there is no account `{one.owner}`", _nearest(one.owner, accounts))
            if one.kind not in {None, CANONICAL.get(name, one.kind)}:
                self._problem(f"{where}.kind", f"{name} is always {CANONICAL[name]}")
        return fields

    def _mapped(self, fields: Mapping[str, FieldSettings], accounts: Mapping[str, AccountOptions]) -> None:
        """Every name that is mapped exists, and every field of our own is mapped somewhere."""
        kinds = {**{name: one.kind or Kind.TEXT for name, one in fields.items()}, **CANONICAL}
        known = [*kinds, *NO_FIELDS]
        for account, options in accounts.items():
            for name in options.fields.keys() - set(known):
                self._problem(f"accounts.{account}.fields.{name}", "no such field", _nearest(name, known) or _DECLARE)
            for name, form in options.formats.items():
                where = f"accounts.{account}.formats.{name}"
                if name not in kinds:
                    self._problem(where, "no such field", _nearest(name, kinds) or _DECLARE)
                elif fault := form_fault(kinds[name], form):
                    self._problem(where, fault)
                elif form == "national" and not getattr(options, "phone_region", None):
                    self._problem(where, "nobody can tell whose national number that is", "set phone_region as well")
        mapped = {name for options in accounts.values() for name in options.fields}
        if len(accounts) == len(self.document.get("accounts", {})):
            for name in fields.keys() - CANONICAL.keys() - mapped:
                hint = f'write fields = {{ {name} = "its name there" }} in the accounts that have it'
                self._problem(f"fields.{name}", "no account has this field", hint)

    def _lists(self, accounts: Sequence[str]) -> dict[str, ListSettings]:
        taken: dict[tuple[str, str], str] = {}
        lists = {}
        for name, table in self.document.get("lists", {}).items():
            where = f"lists.{name}"
            if not _NAME.fullmatch(name) or "__" in name:
                self._problem(where, "not a name for a list", _NAMING)
            homes: dict[str, tuple[str, ...]] = {}
            for key, value in table.items():
                if key in LIST_KEYS:
                    continue
                if key not in accounts:
                    self._problem(
                        f"{where}.{key}", "neither an account nor a key", _nearest(key, (*accounts, *LIST_KEYS))
                    )
                    continue
                homes[key] = self._ids(value, f"{where}.{key}")
                for remote in set(homes[key]) - {
                    "*"
                }:  # everything at an account without lists may feed several of ours
                    if (other := taken.setdefault((key, remote), name)) != name:
                        self._problem(f"{where}.{key}", f"`{remote}` is already lists.{other}", "one list of ours each")
            if not table.keys() - set(LIST_KEYS):
                self._problem(where, "lives at no account", 'write ACCOUNT = "ID", the id of the list there')
            raw = {"scope": name, **{key: table[key] for key in LIST_KEYS if key in table}, "accounts": homes}
            if one := self._validated(raw, ListSettings, where):
                lists[name] = one
        return lists

    def _subscribe_form(
        self,
        sections: Mapping[str, Options | None],
        accounts: dict[str, AccountOptions],
        lists: dict[str, ListSettings],
    ) -> None:
        """Where there are forms, those who subscribed by them stand in an account of their own."""
        form, receiver = sections["subscribe_form"], sections["receiver"]
        if not isinstance(form, SubscribeFormSettings) or not isinstance(receiver, ReceiverSettings):
            return
        for key, names in (("lists", form.lists), ("titles", form.titles)):
            for name in names:
                if name not in self.document.get("lists", {}):
                    self._problem(f"subscribe_form.{key}", f"there is no list `{name}`", _nearest(name, lists))
        if not form.lists:
            return
        if FORMS in accounts:
            self._problem(f"accounts.{FORMS}", "is what the account of our own forms is called", "take another name")
        if not form.confirm_command:
            self._problem("subscribe_form.confirm_command", "missing", "the program that mails the link, and its words")
        if receiver.public_url is None:
            self._problem("receiver.public_url", "missing", "confirmation links lead to it")
        accounts[FORMS] = FormsOptions()
        for name in form.lists:
            if name in lists:
                places = {**lists[name].accounts, FORMS: (name,)}
                lists[name] = lists[name].model_copy(update={"accounts": places})

    def _ids(self, value: Any, where: str) -> tuple[str, ...]:
        """Ids as text: the loader takes `154` for `"154"`, and one id for a list of one."""
        several = value if isinstance(value, list) else [value]
        ids = [str(one).strip() for one in several if isinstance(one, (str, int)) and not isinstance(one, bool)]
        if len(ids) != len(several) or not ids or not all(ids):
            self._problem(where, 'must be the id of a list there, or several: ["…", "…"]')
            return ()
        if len(set(ids)) < len(ids):
            self._problem(where, "names one list twice")
        return tuple(dict.fromkeys(ids))

    def _validated(self, table: dict[str, Any], model: type[M], where: str) -> M | None:
        """The model, or None and every fault noted."""
        self._read_files(table, [model], where)
        try:
            return model.model_validate(table, context={"fields": self.document.get("fields", {}).keys()})
        except ValidationError as error:
            seen: set[str] = set()
            for fault in error.errors(include_url=False, include_input=False):
                at = _located(fault["loc"], table, fault["type"])
                dotted = ".".join((where, *at))
                if dotted not in seen:  # a union complains once for each member
                    seen.add(dotted)
                    self._problem(dotted, *_told(fault, dotted, _shapes_at(model, table, at)))
            return None


_DECLARE = "a field of your own is declared first: [fields.NAME]"

_UNREAD = "unread"
"""Stands for a secret whose file is already a problem, so that it is not reported as missing too."""

_NAMING = "a to z, 0 to 9, _ and -, no __; an account cannot be called scope or spread"


def _variables(environ: Mapping[str, str]) -> Iterator[_Override]:
    for name, text in sorted(environ.items()):
        if name.startswith("SYNCD_") and "__" in name:
            yield _Override("env", name, tuple(name.lower().removeprefix("syncd_").split("__")), text)


def _models_of(table: Mapping[str, Any]) -> list[type[BaseModel]]:
    provider = table.get("provider")
    known = isinstance(provider, str) and provider in REGISTRY
    return [REGISTRY[provider].options] if known and isinstance(provider, str) else [AccountOptions]


def _matching(segment: str, names: Iterable[str]) -> str:
    """The name that a part of a variable means: variables have neither lower case nor hyphens."""
    return next((name for name in names if name.replace("-", "_").lower() == segment.replace("-", "_")), segment)


def _inner(table: Any, key: str) -> Any:
    """One step down: into a table (made where there is none yet) or to an item of a list of tables."""
    if isinstance(table, dict):
        return table.setdefault(key, {})
    return _step(table, int(key)) if key.isascii() and key.isdigit() else None


def _step(table: Any, step: str | int) -> Any:
    if isinstance(table, dict):
        return table.get(step)
    return table[step] if isinstance(table, list) and isinstance(step, int) and step < len(table) else None


def _value(text: str, shape: _Shape) -> Any:
    """Text from outside TOML, as the field wants it."""
    if shape.secret:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines if shape.several and len(lines) > 1 else text
    if shape.duration and re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    if text.startswith(("[", "{")):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text


# -- how a fault reads ----------------------------------------------------------------------------------------------


def _located(loc: Sequence[str | int], table: Any, kind: str) -> tuple[str, ...]:
    """The keys that lead to a fault. pydantic puts the tags of unions between them; those are no keys of the file."""
    at: list[str] = []
    for index, step in enumerate(loc):
        inner = _step(table, step)
        # The first step is always a key, and so is the last of what is missing; neither need be in the file.
        if inner is not None or index == 0 or (kind == "missing" and index == len(loc) - 1):
            at.append(str(step))
            table = inner
    return tuple(at)


def _shapes_at(model: type[BaseModel], table: Any, at: Sequence[str]) -> dict[str, _Shape]:
    """The fields that the table around a fault may have. Of a union, the member that its `kind` names."""
    shapes = _shapes([model])
    for key in at[:-1]:
        table = table[int(key)] if isinstance(table, list) else table.get(key, {})
        if tables := shapes.get(key, _Shape()).tables:
            kind = table.get("kind") if isinstance(table, dict) else None
            fitting = [
                one for one in tables if kind in get_args(getattr(one.model_fields.get("kind"), "annotation", None))
            ]
            shapes = _shapes(fitting or tables)
    return shapes


def _told(fault: ErrorDetails, where: str, shapes: Mapping[str, _Shape]) -> tuple[str, str]:
    """What is wrong and what to do, in our words where pydantic's are about Python."""
    key = where.rpartition(".")[2]
    context = fault.get("ctx", {})
    match fault["type"]:
        case "missing":
            return "missing", _how_to_give(where, secret=shapes.get(key, _Shape()).secret)
        case "extra_forbidden":
            files = [f"{name}_file" for name, shape in shapes.items() if shape.secret]
            return "unknown key", _nearest(key, (*shapes, *files))
        case "value_error":
            return str(context.get("error")), ""
        case "string_too_short" | "too_short":
            return "is empty", ""
        case "literal_error" | "enum":
            return f"must be {context.get('expected')}", ""
        case "union_tag_not_found":
            return "says no kind", "write kind = …"
        case "union_tag_invalid":
            return f"kind must be one of {context.get('expected_tags')}", ""
        case _:
            return _lower(fault["msg"].removeprefix("Input ")), ""


def _how_to_give(where: str, *, secret: bool) -> str:
    section, _, key = where.rpartition(".")
    outside = where.replace("-", "_").replace(".", "__")
    variable = f"SYNCD_{outside.upper()}"
    if not secret:
        return f"write {key} = … in [{section}], or set {variable}"
    return (
        f'write {key}_file = "PATH" (or {key}) in [{section}], set {variable}, or give the credential syncd_{outside}'
    )


def _nearest(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, list(known), n=1)
    return f"did you mean `{near[0]}`?" if near else ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
