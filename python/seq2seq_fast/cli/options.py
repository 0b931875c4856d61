"""Options that may stand on the command line or in a file: their kinds, their checks, their flags."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

__all__ = [
    "FORECAST_PRESETS",
    "PRESETS",
    "Kind",
    "Option",
    "Value",
    "load_config",
    "preset_file",
    "takes_options",
]

Value = str | int | float | bool
Kind = Literal["text", "path", "int", "float", "bool"]

_PRESETS = Path(__file__).parent.parent / "presets"
PRESETS = tuple(sorted(path.stem for path in _PRESETS.glob("*.yaml")))


FORECAST_PRESETS = tuple(sorted(path.stem for path in (_PRESETS / "forecasting").glob("*.yaml")))


def preset_file(name: str, task: str = "") -> Path:
    """Return the file of a preset, which the package ships; ValueError if there is none of that name.

    Args:
        name: the preset.
        task: "forecasting" for presets of `forecast train`.
    """
    presets = FORECAST_PRESETS if task else PRESETS
    if name not in presets:
        raise ValueError(f"--preset: there is no {name!r}; there are {', '.join(presets)}.")
    return _PRESETS / task / f"{name}.yaml"


_TYPES: dict[Kind, type] = {"text": str, "path": str, "int": int, "float": float, "bool": bool}
_WANTED: dict[Kind, str] = {
    "text": "text",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}


@dataclass(frozen=True)
class Option:
    """One option.

    `default` None leaves it to an earlier line with the same target, or to what the value goes to. With
    `zero_is_off`, 0 says "not at all", and the target gets no value.
    """

    name: str
    kind: Kind
    default: Value | None
    targets: tuple[str, ...]
    help: str
    choices: tuple[str, ...] = ()
    zero_is_off: bool = False

    @property
    def section(self) -> str:
        """Where it stands in help and documentation."""
        return self.targets[0].partition(".")[0]

    def gives(self, argument: str) -> bool:
        """Whether the value goes to an argument of this name."""
        return any(target.partition(".")[2] == argument for target in self.targets)

    @property
    def shown_default(self) -> str:
        """The default as help and documentation show it."""
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if self.default is None:
            return ""
        return f"{self.default:g}" if self.kind == "float" else str(self.default)

    def parse(self, value: object, origin: str) -> Value | None:
        """Return the value checked and converted, None for None; ValueError names the option."""
        if value is None:
            return None
        converted = self._convert(value)
        if converted is None:
            raise ValueError(f"{origin}: expected {_WANTED[self.kind]} for {self.name}, got {value!r}.")
        if self.choices and converted not in self.choices:
            raise ValueError(
                f"{origin}: expected one of {', '.join(self.choices)} for {self.name}, got {value!r}."
            )
        return converted

    def _convert(self, value: object) -> Value | None:
        if self.kind == "bool" or isinstance(value, bool):
            return value if isinstance(value, bool) and self.kind == "bool" else None
        if not isinstance(value, str | int | float):
            return None
        if self.kind == "path":
            return str(value)
        if self.kind == "text":
            known = {choice.lower().replace("-", "_"): choice for choice in self.choices}
            return known.get(str(value).lower().replace("-", "_"), str(value))
        if self.kind == "int":
            try:  # whole, as a float has no more than 53 bits
                return int(value) if isinstance(value, str | int) else None if value % 1 else int(value)
            except (ValueError, OverflowError):
                pass
        try:
            number = float(value)  # from text too: YAML 1.1 reads 1e-3 as text
        except (ValueError, OverflowError):
            return None
        if self.kind == "float":
            return number
        return int(number) if number.is_integer() else None


def load_config(path: Path) -> dict[str, object]:
    """Read a file of options: YAML, or JSON where the name ends so. Dashes in names become underscores."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason}).") from None
    content: object
    if path.suffix == ".json":
        try:
            content = json.loads(text, object_pairs_hook=lambda pairs: dict(_each_once(path, pairs)))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: not valid JSON ({error}).") from None
    else:
        try:
            import yaml
        except ImportError:
            raise ImportError("A YAML file needs an extra: pip install 'seq2seq_fast[cli]'") from None
        try:
            node = yaml.compose(text, yaml.SafeLoader)
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from None
        if isinstance(node, yaml.MappingNode):
            _each_once(path, [(key.value, value) for key, value in node.value])
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected lines of 'option: value', got a {type(content).__name__}.")
    return {_name(key): value for key, value in content.items()}


def _name(key: object) -> str:
    return str(key).replace("-", "_")


def _each_once(path: Path, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Return them, if none of the options is there twice, be it in another spelling."""
    count = Counter(_name(key) for key, _ in pairs)
    for name, times in count.items():
        if times > 1:
            raise ValueError(f"{path}: option {name} is there {times} times; leave one.")
    return pairs


def takes_options(options: Sequence[Option]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a typer command a flag for each option; its argument `flags` holds them, None where not given."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def command(**arguments: Any) -> None:
            flags = {option.name: arguments.pop(option.name) for option in options}
            with names_options(options, flags):
                function(flags=flags, **arguments)

        keyword = inspect.Parameter.KEYWORD_ONLY
        own = inspect.signature(function, eval_str=True).parameters.values()
        parameters = [p.replace(kind=keyword) for p in own if p.name != "flags"]
        parameters += [
            inspect.Parameter(option.name, keyword, default=None, annotation=_annotation(option))
            for option in options
        ]
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


#: How the library refuses a value of an argument; see `arguments`.
_REFUSAL = re.compile(r"\[[^]]+\] Expected (\w+) ((?!and ).*got .*)", re.DOTALL)


@contextlib.contextmanager
def names_options(options: Sequence[Option], flags: Mapping[str, object]) -> Iterator[None]:
    """Put the option in the place of the argument that its value went to, where that is refused.

    Of several with the same target it is the one given as a flag; a file may have given any of them.
    """
    try:
        yield
    except ValueError as error:
        refusal = _REFUSAL.fullmatch(str(error))
        if refusal is None:
            raise
        argument, wanted = refusal.groups()
        possible = [option.name for option in options if option.gives(argument)]
        given = [name for name in possible if flags[name] is not None]
        if not possible:
            raise
        named = " or ".join(f"--{name}" for name in given[-1:] or possible)
        raise ValueError(f"Expected {named} {wanted}") from error


def _annotation(option: Option) -> Any:
    flag = f"--{option.name}"
    info = typer.Option(
        f"{flag}/--no_{option.name}" if option.kind == "bool" else flag,
        help=option.help + ("" if option.default is None else f" [{option.shown_default}]"),
        metavar="|".join(option.choices) or option.kind.upper(),
        show_default=False,
    )
    return Annotated[_TYPES[option.kind] | None, info]
