"""Command lines made from dataclasses by tyro: each field is an option, and the text beside it is its help."""

import dataclasses
import re
import sys
import types
import typing
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from difflib import get_close_matches
from functools import cache
from inspect import cleandoc, get_annotations
from io import StringIO
from itertools import dropwhile, takewhile
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from typing import Annotated, Any, TextIO, TypeVar, cast

import docstring_parser
import tyro

from benchmarks.harness.methods import PREFIXES, option_classes
from benchmarks.harness.options import MORE, Options, UsageError

__all__ = ["UsageError", "flag", "flags", "help_texts", "option_value", "parse", "print_help"]

O = TypeVar("O", bound=Options)  # noqa: E741 (options)
PLAIN = {bool: "True|False", int: "INT", float: "NUMBER", str: "TEXT", Path: "PATH"}
IN_WORDS = {"INT": "a whole number", "NUMBER": "a number", "TEXT": "text"}
ALIKE = {"--method": "--arms", "--methods": "--arms", "--arms": "--method", "--arm": "--method"}
TRAINED = range(1, sys.maxsize)  # K, the updates of a model in the pool, where there are any
# Options of classes that have an effect only where another one, or one of two others, has one of these values.
NEEDED: dict[str, dict[str, Container[Any]]] = {
    "temperature": {"loss": ("soft-cross-entropy",)},
    "noise_std": {"init": ("noise", "real+noise", "class-means")},
    "frequencies": {"init": ("class-means", "clusters")},
    "init_share": {"init": ("class-means", "clusters")},
    "public": {"init": ("public",)},
    "label_margin": {"learn_labels": (True,)},
    "implicit_steps": {"meta_gradient": ("implicit",)},
    "augmentations": {"augment": (True,)},
    "sharpness": {"outer_loss": ("softmax",)},
    "sharpness_learning_rate": {"outer_loss": ("softmax",)},
    "chunk_size": {"meta_gradient": ("krr",)},
    "version": {"max_updates": TRAINED},
    "pool_updates": {"max_updates": TRAINED},
    "pool_batch_size": {"max_updates": TRAINED},
    "pool_learning_rate": {"max_updates": TRAINED, "meta_gradient": ("implicit",)},
}
# Flags without the names of their groups; and no search of the source for comments, which takes most of the time.
TYRO = (tyro.conf.OmitArgPrefixes, tyro.conf.HelptextFromCommentsOff)
YES_OR_NO = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
AND_MORE = "\n\nAll options, including those of the methods and of the training: --help-all"


def help_texts(cls: type) -> dict[str, str]:
    """The text beside each field of a dataclass and of its bases."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            params = docstring_parser.parse_from_object(base).params
            texts |= {param.arg_name: " ".join((param.description or "").split()) for param in params}
    return texts


def flag(prefix: str, name: str) -> str:
    """`--prefix-option-name`, without saying the prefix twice."""
    return f"--{name_of(prefix, name)}".replace("_", "-")


def name_of(prefix: str, name: str) -> str:
    """`prefix_option_name`, as `flag` says it."""
    return f"{prefix}_{name.removeprefix(prefix + '_')}" if prefix else name


def flags(
    cls: type, *, prefix: str = "", presets: Mapping[str, Mapping[str, Any]] | None = None,
    left_out: frozenset[str] = frozenset(), more: bool = True,
) -> type:  # fmt: skip
    """The fields of `cls` as a dataclass for tyro, under the names of their flags.

    `presets`: by name, what differs from the defaults. `more`: those that are marked with `MORE` too.
    """
    texts, hints = help_texts(cls), typing.get_type_hints(cls, include_extras=True)
    found = []
    for option in sorted(dataclasses.fields(cls), key=lambda option: declared_by(cls, option.name)):
        hint = hints[option.name]
        if option.name in left_out or option.name == "given":
            continue
        if typing.get_origin(hint) is Annotated:
            if MORE in hint.__metadata__ and not more:
                continue
            hint = hint.__origin__
        given = presets or {"": {}}
        shown = default_shown({name: own.get(option.name, option.default) for name, own in given.items()})
        values = None if hint is bool else metavar(hint)
        text = texts.get(option.name, "").replace("`", "")
        about = tyro.conf.arg(help=text, help_behavior_hint=shown, metavar=values)
        marks = [tyro.conf.FlagCreatePairsOff] if not prefix else []
        found.append((name_of(prefix, option.name), Annotated[(hint, about, *marks)], option.default))
    made = dataclasses.make_dataclass(f"{prefix or 'run'}_options", found)
    made.__doc__ = f"Options of {cls.__module__.partition('.')[0]}.{cls.__qualname__}." if prefix else ""
    return made


def declared_by(cls: type, name: str) -> int:
    """How far up the bases of `cls` a field is declared; 0: in `cls` itself."""
    return next(i for i, base in enumerate(cls.__mro__) if name in get_annotations(base))


def metavar(hint: Any) -> str:
    """How the help writes the values of a type."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(each for each in typing.get_args(hint) if each is not type(None))
    if typing.get_origin(hint) is tuple:
        one = metavar(typing.get_args(hint)[0])
        return f"{one} [...]"
    if typing.get_origin(hint) is typing.Literal:
        return "|".join(map(str, typing.get_args(hint)))
    return PLAIN.get(hint, "VALUE")


def in_words(hint: Any) -> str:
    """What values a type has, as errors say it."""
    values = metavar(hint)
    one = values.removesuffix(" [...]")
    kind = IN_WORDS.get(one, f"one of {one.replace('|', ', ')}")
    return kind if one == values else f"one or more, each {kind}"


def default_shown(values: Mapping[str, Any]) -> str:
    """The default, by preset where the presets differ; nothing for `None`, an empty tuple and `False`."""
    texts = {
        name: " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        for name, value in values.items()
    }
    if len(set(texts.values())) > 1:
        return f"(default: {', '.join(f'{text} ({name})' for name, text in texts.items() if text != 'None')})"
    (text,) = set(texts.values())
    return "" if text in ("None", "") or next(iter(values.values())) is False else f"(default: {text})"


@cache
def all_flags(options: Any, *, prefixes: tuple[str, ...] | None = None) -> type:
    """The options of a program, in groups; `prefixes`: of which classes as well, which bring torch (default: all)."""
    runs = {name: preset.get("run", {}) for name, preset in options.presets.items()}
    groups: list[tuple[str, type]] = [("run", flags(options, presets=runs))]
    if options.presets and prefixes != ():
        classes = option_classes()
        for prefix in classes if prefixes is None else prefixes:
            presets = {name: preset.get(prefix, {}) for name, preset in options.presets.items()}
            own = flags(classes[prefix], prefix=prefix, presets=presets, left_out=options.left_out)
            groups.append((prefix, own))
    return dataclasses.make_dataclass("all_options", groups)


def print_help(options: type[Options], *, program: str, everything: bool) -> None:
    """Print the common options, or all of them."""
    runs = {name: preset.get("run", {}) for name, preset in options.presets.items()}
    page = all_flags(cast(Any, options)) if everything else flags(options, presets=runs, more=False)
    about = cleandoc(options.__doc__ or "") + ("" if everything or not has_more(options) else AND_MORE)
    about = "\n\n".join(" ".join(paragraph.split()) for paragraph in about.split("\n\n"))
    said = Captured(sys.stdout)
    with suppress(SystemExit), redirect_stdout(said):
        tyro.cli(page, args=["--help"], prog=program, description=about, config=TYRO)
    columns = min(get_terminal_size().columns, 120)
    for line in said.getvalue().splitlines():  # tyro wraps what is in its boxes, not the text above them
        print(fill(line, columns, break_on_hyphens=False) if line[:1].isalnum() else line)


class Captured(StringIO):
    """What is printed, in the form that it would have on `stream`: with its colours and its characters for boxes."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream."""
        return self.stream.encoding

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self.stream.isatty()


def has_more(options: type[Options]) -> bool:
    """Whether `--help-all` says more than `--help`."""
    hints = typing.get_type_hints(options, include_extras=True).values()
    return bool(options.presets) or any(MORE in getattr(hint, "__metadata__", ()) for hint in hints)


def parse(options: type[O], argv: Sequence[str]) -> O:
    """The options of a command line, the values of the chosen preset filled in; raises `UsageError`.

    The classes of methods and training, which bring torch, are imported for their own flags alone.
    """
    words = [word.partition("=")[0].replace("_", "-") for word in argv if word.startswith("--")]
    of_run = {flag("", field.name) for field in dataclasses.fields(options)}
    typed_prefixes = {prefix_in(word) for word in words if word not in of_run}.intersection(PREFIXES)
    classes = option_classes() if options.presets and typed_prefixes else {}
    prefixes = tuple(prefix for prefix in classes if prefix in typed_prefixes)
    wanted: Any = all_flags(cast(Any, options), prefixes=prefixes)
    known = known_flags(wanted)
    check_repeated(words, known)
    said = StringIO()
    try:
        with redirect_stderr(said):
            found, unknown = tyro.cli(
                wanted, args=list(argv), return_unknown_args=True, add_help=False, config=TYRO
            )
    except SystemExit as stop:
        raise UsageError(refusal(one_line(said.getvalue()), wanted, argv)) from stop
    if unknown:
        raise UsageError(not_known(unknown[0], known, see="--help-all" if has_more(options) else "--help"))
    typed = set(words)
    run = vars(found.run)
    if empty := [name for name, value in run.items() if value == () and flag("", name) in typed]:
        raise UsageError(f"{flag('', empty[0])} has no value; give one or more")
    for name, value in options.presets.get(run.get("preset", ""), {}).get("run", {}).items():
        if flag("", name) not in typed:
            run[name] = value
    given: dict[str, dict[str, Any]] = {"run": {name: run[name] for name in run if flag("", name) in typed}}
    for prefix in prefixes:
        own = {field.name: name_of(prefix, field.name) for field in dataclasses.fields(classes[prefix])}
        values = vars(getattr(found, prefix))
        given[prefix] = {
            field: values[name] for field, name in own.items()
            if name in values and typed & {flag("", name), flag("no", name)}
        }  # fmt: skip
    parsed = options(**run, given=given)
    check_effect(parsed)
    return parsed


def prefix_in(word: str) -> str:
    """The prefix of a word that may be a flag of a class: `--frepo-...`, `--no-frepo-...`."""
    return word.removeprefix("--").removeprefix("no-").partition("-")[0]


def known_flags(groups: Any) -> dict[str, str]:
    """All flags, with the option that each sets: its own flag, also for `--no-...`."""
    found = {}
    for group in dataclasses.fields(groups):
        for name, hint in typing.get_type_hints(group.type).items():
            found[flag("", name)] = flag("", name)
            if hint is bool and group.name != "run":
                found[flag("no", name)] = flag("", name)
    return found


def check_repeated(words: Sequence[str], known: Mapping[str, str]) -> None:
    """Raise `UsageError` where an option is given twice, of which the last value would count alone."""
    seen: dict[str, str] = {}
    for word in words:
        option = known.get(word)
        if option is None:
            continue
        before = seen.setdefault(option, word)
        if before != word:
            raise UsageError(f"{before} and {word} exclude each other; leave one out")
        if words.count(word) > 1:
            raise UsageError(f"{word} is given {words.count(word)} times; give it once")


def check_effect(options: Options) -> None:
    """Raise `UsageError` where an option of a class was typed that has no effect in this run."""
    given = {prefix: values for prefix, values in options.given.items() if prefix != "run" and values}
    for prefix, values in given.items():
        if prefix not in options.parts:
            raise UsageError(f"{flag(prefix, next(iter(values)))} was given, but {options.idle(prefix)}")
        cls: Any = option_classes()[prefix]
        resolved = {field.name: field.default for field in dataclasses.fields(cls)}
        resolved |= {**options.presets.get(getattr(options, "preset", ""), {}).get(prefix, {}), **values}
        swept = getattr(options, "sweep", ("",))[:1]
        for name in values:
            needed = {other: of for other, of in NEEDED.get(name, {}).items() if other in resolved}
            if needed and not any(
                resolved[other] in of or flag(prefix, other)[2:] in swept for other, of in needed.items()
            ):
                states = " and ".join(state_of(flag(prefix, other), resolved[other]) for other in needed)
                raise UsageError(f"{flag(prefix, name)} was given, but has no effect where {states}")


def state_of(option: str, value: Any) -> str:
    """`--option is value`, or that it is off."""
    return f"{option} is {'off' if value is False else value}"


def not_known(word: str, known: Iterable[str], *, see: str) -> str:
    """The message for a word that is no option: which option may have been meant."""
    if not word.startswith("-"):
        return f"unexpected {word!r}; see --help"
    word = word.partition("=")[0].replace("_", "-")
    negated = "--no-" + word.removeprefix("--").replace("no-", "", 1)
    likely = [each for each in (negated, ALIKE.get(word, "")) if each in known]
    first, dash, _ = word.removeprefix("--").partition("-")
    if dash and prefix_in(word) not in PREFIXES:  # the flags of classes are not among the known ones then
        likely += [f"--{prefix}-..." for prefix in get_close_matches(first, PREFIXES, n=1, cutoff=0.75)]
    likely += get_close_matches(word, known, n=1)
    return f"unknown option {word}; " + (f"did you mean {likely[0]}?" if likely else f"see {see}")


def one_line(box: str) -> str:
    """tyro's error message, which it prints in a box under a title, in one line."""
    lines = [line.strip("│╭╮╰╯─- ") for line in box.splitlines()[1:]]
    said = takewhile(bool, dropwhile(lambda line: not line, lines))
    return " ".join(said).rstrip(".").replace("Error parsing ", "cannot read ", 1)


def refusal(said: str, groups: Any, argv: Sequence[str]) -> str:
    """What tyro says of a value that it cannot read, in this toolkit's words: what was given and what was expected."""
    if choice := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)$", said):
        return f"{choice[2]} is {choice[1]!r}; expected one of {choice[3].replace(chr(39), '').rstrip(',')}"
    if without := re.match(r"Missing value for argument '(--[\w-]+)", said):
        return f"{without[1]} has no value; give one"
    unread = re.match(r"cannot read (--[\w-]+): ", said)
    if unread is None:
        return said
    typed = [word.partition("=") for word in argv]
    at = next((i for i, word in enumerate(typed) if word[0].replace("_", "-") == unread[1]), None)
    if at is None:
        return said
    values = [typed[at][2]] if typed[at][1] else list(takewhile(lambda word: not word.startswith("--"), argv[at + 1 :]))
    name = unread[1].removeprefix("--").replace("-", "_")
    hints = [typing.get_type_hints(group.type, include_extras=True).get(name) for group in dataclasses.fields(groups)]
    hint = next(each for each in hints if each is not None)
    return f"{unread[1]} is {' '.join(values)!r}; expected {in_words(hint.__origin__)}"


def option_value(cls: type, name: str, text: str, *, flag: str) -> Any:
    """`text` as a value of the field `name` of `cls`, as its flag reads it; yes or no for a flag that takes no value.

    Raises `UsageError` that names the `flag` for what the option cannot be.
    """
    hint = typing.get_type_hints(cls)[name]
    if hint is bool:
        if text.lower() in YES_OR_NO:
            return YES_OR_NO[text.lower()]
        raise UsageError(f"{flag} is {text!r}; expected yes or no")
    try:
        with redirect_stderr(StringIO()):
            one: Any = dataclasses.make_dataclass("one", [("value", hint)])
            return tyro.cli(one, args=["--value", text]).value
    except SystemExit as stop:
        raise UsageError(f"{flag} is {text!r}; expected {in_words(hint)}") from stop
