"""The options that commands share; those of the settings are made from the dataclasses."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from scrae.config import Preset, Settings, from_dict, preset
from scrae.errors import ScraeError

if TYPE_CHECKING:
    from anndata import AnnData

Command = Callable[..., None]

_EVERYDAY = (
    "label_key", "batch_key", "n_clusters", "cluster_method", "resolution", "gene_selection", "n_top_genes",
    "n_latent", "prior_weight", "max_epochs", "also_2d", "tsne", "check_seeds", "min_cells", "min_genes", "min_counts",
    "max_mito", "mito_prefix", "qc", "drop_doublets", "layer", "transpose", "round", "backed", "seed", "device",
)  # fmt: skip
"""Options in the order of ``--help``; all others follow in the panel "Advanced"."""
_LONGER = {"method": "cluster_method"}
"""Fields whose group says in Python what the option has to say in its name."""
_AUTOMATIC = ("n_clusters", "resolution", "max_epochs", "n_noise", "mito_prefix", "layer", "backed")
"""Options whose None is shown as "auto", that of others as "none"; both are accepted."""
_PARAMETER = inspect.Parameter.KEYWORD_ONLY


def _completion(names: Iterable[str]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def complete_column(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a column of obs of the h5ad given earlier in the command line."""
    import h5py

    for word in ctx.args:  # an option without its value ends the parsing; the arguments before it are here
        with suppress(OSError, KeyError), h5py.File(word) as file:
            return _completion([str(name) for name in file["obs"].attrs["column-order"]])(incomplete)
    return []


Input = Annotated[Path, typer.Argument(help="h5ad, 10x h5, 10x mtx folder, loom, zarr, csv or tsv (.gz).")]
Prepared = Annotated[Path, typer.Argument(help="h5ad that an earlier step wrote.")]
OutputFolder = Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")]
OutputH5ad = Annotated[Path, typer.Option("-o", "--output", help="h5ad to write.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted training.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the results of an earlier run.")]
ModelFolder = Annotated[Path, typer.Option("--model", help="Model folder, or the folder of a run.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Settings to start from: run.json of a run, or JSON or YAML of its form. Other options override them.",
    ),
]
_Preset = Annotated[
    str | None,
    typer.Option(
        help="Settings to start from: default, or paper (the published architecture and rates).",
        autocompletion=_completion(get_args(Preset)),
    ),
]


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """A field of the settings as an option.

    Attributes
    ----------
    option, name : str
        Names of the option and of the field.
    group : str
        Field of ``Settings`` that holds it; "" = ``Settings`` itself.
    kinds : tuple
        The types that it accepts.
    default : Any
        Its default.
    help : str
        Its description in the docstring of its dataclass.
    """

    option: str
    name: str
    group: str
    kinds: tuple[Any, ...]
    default: Any
    help: str

    @property
    def _none(self) -> str:
        return "auto" if self.option in _AUTOMATIC else "none"

    def _text(self, value: Any) -> str:
        """Return a value as it is typed."""
        if value is None:
            return self._none
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

    def annotation(self, default: Any) -> Any:
        """Return the option for Typer; its value is None where it is not given."""
        flag, choices = "--" + self.option.replace("_", "-"), get_args(self.kinds[0])
        words = re.sub(r"\bNone\b", self._none, self.help)
        details: dict[str, Any] = {"help": words} | (
            {} if self.option in _EVERYDAY else {"rich_help_panel": "Advanced"}
        )
        if self.kinds[0] is bool:
            flag = "--backed/--in-memory" if self.option == "backed" else f"{flag}/--no-{flag[2:]}"
            shown = self._none if default is None else flag.split("/")[not default].lstrip("-")
            return Annotated[bool | None, typer.Option(flag, show_default=shown, **details)]
        kind = {int: "N", float: "X", str: "NAME"}.get(self.kinds[0], "N,N,...")
        if get_origin(self.kinds[0]) is Literal:
            kind, details["autocompletion"] = "NAME", _completion(choices)
            if not all(choice in words for choice in choices):
                details["help"] = f"{words} One of {', '.join(choices)}."
        if self.option.endswith("_key"):
            details["autocompletion"] = complete_column
        details["metavar"] = f"{kind}|{self._none}" if type(None) in self.kinds else kind
        return Annotated[str | None, typer.Option(flag, show_default=self._text(default), **details)]

    def parse(self, text: Any) -> Any:
        """Return the value typed as ``text``; what cannot be one is returned as it is, for the dataclass to refuse."""
        if text in ("auto", "none") and type(None) in self.kinds:
            return None
        if get_origin(self.kinds[0]) is tuple:
            with suppress(ValueError):
                return tuple(int(size) for size in text.split(",") if size)
        for kind in (int, float):
            if kind in self.kinds:
                with suppress(ValueError):
                    return kind(text)
        return text


def _settings_of(cls: Any, group: str = "") -> dict[str, _Setting]:
    """Return the fields of a dataclass, and of the dataclasses in it, by the names of their options."""
    described: dict[str, str] = {}
    _, _, attributes = inspect.cleandoc(cls.__doc__).partition("Attributes\n----------\n")
    for names, text in re.findall(r"^(\S.*?) : .*\n((?:    .*\n?)+)", attributes, re.MULTILINE):
        described |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    found: dict[str, _Setting] = {}
    hints = typing.get_type_hints(cls)
    for field in fields(cls):
        hint = hints[field.name]
        if is_dataclass(hint):
            found |= _settings_of(hint, field.name)
            continue
        option = _LONGER.get(field.name, field.name)
        kinds = get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
        found[option] = _Setting(
            option=option,
            name=field.name,
            group=group,
            kinds=kinds,
            default=field.default,
            help=described[field.name],
        )
    return found


_SETTINGS = _settings_of(Settings)
OPTIONS = {option: _SETTINGS[option] for option in dict.fromkeys((*_EVERYDAY, *_SETTINGS))}
"""All settings by the names of their options, in the order of ``--help``."""


def takes(*names: str, **defaults: Any) -> Callable[[Command], Command]:
    """Give a command options for settings; it gets the result as ``settings``.

    A command that takes a whole group also has ``--preset`` and ``--config``.

    Parameters
    ----------
    *names : str
        Options, or groups of ``Settings``: all options of theirs.
    **defaults : Any
        Settings of this command that differ from the defaults, by option.
    """
    groups = {setting.group for setting in OPTIONS.values()} & {*names}
    chosen = [setting for option, setting in OPTIONS.items() if {option, setting.group} & {*names}]
    made = {one.option: one.annotation(defaults.get(one.option, one.default)) for one in chosen}
    if groups:
        made = {"preset": _Preset, "config": Config} | made

    def decorate(command: Command) -> Command:
        hints = typing.get_type_hints(command, include_extras=True)
        own = {
            name: parameter.replace(annotation=hints[name], kind=_PARAMETER)
            for name, parameter in inspect.signature(command).parameters.items()
            if name != "settings"
        }
        more = {
            name: inspect.Parameter(name, _PARAMETER, default=None, annotation=annotation)
            for name, annotation in made.items()
            if name not in own
        }

        def wrapper(**values: Any) -> None:
            given = {option: values[option] for option in made if values[option] is not None}
            start = changed(_start(given.pop("preset", None), given.pop("config", None)), defaults)
            typed = {option: OPTIONS[option].parse(value) for option, value in given.items()}
            try:
                settings = changed(start, typed)
            except ScraeError as error:
                raise _named_as_typed(error, typed) from None
            command(**{name: values[name] for name in own}, settings=settings)

        signature = inspect.Signature([*own.values(), *more.values()])
        wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
        wrapper.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
        wrapper.__signature__ = signature  # type: ignore[attr-defined]
        return wrapper

    return decorate


def _named_as_typed(error: ScraeError, typed: Mapping[str, Any]) -> ScraeError:
    """Return an error about a field as one about the option that set it."""
    field, colon, rest = str(error).partition(":")
    option = next((option for option in typed if OPTIONS[option].name == field), None)
    return error if option is None else ScraeError(f"--{option.replace('_', '-')}{colon}{rest}")


def _start(name: str | None, file: Path | None) -> Settings:
    if file is None:
        return preset(name or "default")
    if name is not None:
        raise ScraeError("--preset and --config both give the settings to start from: leave one out")
    values = read_config(file)
    return from_dict(Settings, values.get("config", values))


def changed(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Return the settings with these values, by option."""
    groups: dict[str, dict[str, Any]] = {}
    for option, value in values.items():
        groups.setdefault(OPTIONS[option].group, {})[OPTIONS[option].name] = value
    top = groups.pop("", {})
    return replace(
        settings,
        **top,
        **{group: replace(getattr(settings, group), **part) for group, part in groups.items()},
    )


def read_config(file: Path) -> dict[str, Any]:
    """Return the content of a ``--config`` file: the record of a run, or settings alone.

    Raises
    ------
    ScraeError
        The file cannot be read, or holds no mapping.
    """
    import yaml

    is_yaml = file.suffix in (".yaml", ".yml")
    try:
        text = file.read_text(encoding="utf-8")
        values = yaml.safe_load(text) if is_yaml else json.loads(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:150]
        raise ScraeError(f"--config: expected JSON or YAML in {file}, found {reason}") from error
    if not isinstance(values, dict):
        raise ScraeError(f"--config: expected a mapping of settings in {file}, found {type(values).__name__}")
    return values


def print_notes(adata: AnnData) -> None:
    """Print what was dropped or lost."""
    for line in adata.uns.get("scrae", {}).get("notes", []):
        typer.echo(f"- {line}")


def print_scores(adata: AnnData) -> None:
    """Print the scores against the labels, if there were labels."""
    facts = adata.uns["scrae"].get("scores", {})
    shown = "  ".join(f"{name} {value:.3f}" for name, value in facts.items() if name != "label_key")
    if shown:
        typer.echo(f"scores    {shown}  ({facts['label_key']})")


def refuse_mixed(path: Path, output: Path | None, cluster_key: str, command: str) -> None:
    """Raise ScraeError unless it is a folder of a run, whose files are renewed, or an h5ad and an output."""
    if path.is_dir() != (output is None) or (path.is_dir() and cluster_key != "scrae"):
        raise ScraeError(
            f"{command}: expected the folder of a run, without -o and --cluster-key, or an h5ad and -o"
        )


def warn_if_stale(output: Path, *, same_clusters: bool = False) -> None:
    """Say which files of a run no longer fit, if a step has written into the folder of one."""
    if output.name != "result.h5ad" or not (output.parent / "run.json").exists():
        return
    if same_clusters:
        typer.echo(f"To show this in the report: scrae report {shlex.quote(str(output.parent))}", err=True)
        return
    typer.echo(
        f"{output.parent} holds a run: its clusters.csv, figures, report.html and run.json still describe the earlier "
        f"result. To change the clusters in all files together: scrae recluster {shlex.quote(str(output.parent))}",
        err=True,
    )


def exit_on_fault(adata: AnnData, where: Path) -> None:
    """Raise an error if training met a non-finite loss; the last good weights are written by now."""
    facts = adata.uns["scrae"]["train"]
    if facts["fault"]:
        raise ScraeError(f"training ended early: {facts['stopped_because']} and written to {where}")
