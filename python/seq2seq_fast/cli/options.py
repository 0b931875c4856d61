"""The options of `train`, one line each in `TRAIN_OPTIONS`: from it come the flags, the help, the check of the YAML file
and the arguments of the objects built from them. Names are OpenNMT's where it has one.

An option reaches its objects by its targets: "model.dropout" is the argument `dropout` of Seq2SeqConfig. Where several
options set one target the later line wins, so that `hidden_size` sets both widths and `enc_hid_size` one of them.
"""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

__all__ = ["TRAIN_OPTIONS", "Option", "arguments_for", "load_config", "resolve", "takes_options"]

Value = str | int | float | bool
Kind = Literal["str", "int", "float", "bool", "path"]

_TYPES: dict[Kind, type] = {"str": str, "int": int, "float": float, "bool": bool, "path": Path}


@dataclass(frozen=True)
class Option:
    """One option. `default` None: left to the object it goes to (or to an earlier line of the table)."""

    name: str
    kind: Kind
    default: Value | None
    targets: tuple[str, ...]
    help: str
    choices: tuple[str, ...] = ()
    flag: str = ""  # a short flag, "-c"

    def parse(self, value: object, origin: str) -> Value | None:
        """The value checked and converted; ValueError naming the option and where the value came from."""
        if value is None:
            return None
        converted = self._convert(value)
        if converted is None:
            a = "an" if self.kind == "int" else "a"
            wanted = {"str": "text", "path": "path", "bool": "true or false"}.get(self.kind, self.kind)
            raise ValueError(
                f"{origin}: expected {'' if self.kind == 'bool' else a + ' '}{wanted} for {self.name}, got {value!r}"
            )
        if self.choices and converted not in self.choices:
            raise ValueError(
                f"{origin}: expected one of {', '.join(self.choices)} for {self.name}, got '{value}'"
            )
        return converted

    def _convert(self, value: object) -> Value | None:
        if self.kind == "bool":
            return value if isinstance(value, bool) else None
        if isinstance(value, bool):
            return None
        if self.kind in ("str", "path"):
            return str(value) if isinstance(value, str | int | float | Path) else None
        try:
            # From text too: YAML 1.1 reads 1e-3 as text.
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return None
        if self.kind == "float":
            return number
        return int(number) if number.is_integer() else None


def arguments_for(section: str, options: Mapping[str, Value | None]) -> dict[str, Value]:
    """The arguments that the options give to one section, "model" for example; options without a value give none."""
    arguments: dict[str, Value] = {}
    for option in TRAIN_OPTIONS:
        value = options.get(option.name)
        for target in option.targets:
            head, _, argument = target.partition(".")
            if head == section and value is not None:
                arguments[argument] = value
    return arguments


def resolve(
    flags: Mapping[str, object], file: Mapping[str, object], origin: str = "--config"
) -> dict[str, Value | None]:
    """Every option's value: the flag if given (not None), else the file's, else the default.

    ValueError names an unknown key of the file, with the nearest option, or a value of the wrong kind.
    """
    known = {option.name: option for option in TRAIN_OPTIONS}
    for key in file:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"{origin}: unknown option {key}{hint}")
    values: dict[str, Value | None] = {}
    for option in TRAIN_OPTIONS:
        value = option.parse(flags.get(option.name), "command line")
        if value is None:
            value = option.parse(file.get(option.name), origin)
        values[option.name] = option.default if value is None else value
    return values


def load_config(path: Path) -> dict[str, object]:
    """The options in a YAML file (or JSON, which is YAML). Dashes in names are taken as underscores."""
    text = path.read_text(encoding="utf-8")
    content: object
    if path.suffix == ".json":
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: not valid JSON: {error}") from error
    else:
        try:
            import yaml
        except ImportError as error:
            raise ImportError("A YAML file needs pyyaml: pip install 'seq2seq_fast[cli]'") from error
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected lines like 'name: value', got a {type(content).__name__}")
    return {str(key).replace("-", "_"): value for key, value in content.items()}


def takes_options(
    options: Sequence[Option],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a typer command a flag for each option; they arrive in its keyword argument `flags`, None where not given."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != "flags"]
        generated = [
            inspect.Parameter(
                option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(option)
            )
            for option in options
        ]

        def command(**arguments: Any) -> None:
            flags = {option.name: arguments.pop(option.name) for option in options}
            function(flags=flags, **arguments)

        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__signature__ = inspect.Signature([*own, *generated])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in [*own, *generated]}
        return command

    return decorate


def _annotation(option: Option) -> Any:
    name = f"--{option.name}"
    declarations = [f"{name}/--no_{option.name}"] if option.kind == "bool" else [name]
    if option.flag:
        declarations.append(option.flag)
    default = option.default
    if isinstance(default, bool):
        default = name[2:] if default else f"no_{option.name}"
    info = typer.Option(
        *declarations,
        help=option.help,
        metavar="|".join(option.choices) or None,
        show_default=False if default is None else str(default),
        rich_help_panel=option.targets[0].partition(".")[0].capitalize() + " options",
    )
    return Annotated[_TYPES[option.kind] | None, info]


