"""Prompts: a Jinja2 template over a row's columns, or a function of a row, compiled once and rendered by the batch.

Pure: nothing here reads or sends anything.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jinja2
import jinja2.meta
import jinja2.nodes
import orjson
import pyarrow as pa
from jinja2.sandbox import ImmutableSandboxedEnvironment

from batch_assets import prompt_parts
from batch_assets.contents import TEXT_ONLY, Content, Rendered, column_values, parts_content, text_content
from batch_assets.errors import PromptError
from batch_assets.parts import Image, MediaWeight, Part, PartError, PartsForm, Pdf, check_kind
from batch_assets.plain_prompts import Piece, is_plain, render_plain

PromptFunction: TypeAlias = Callable[[dict[str, Any]], str | Sequence[Part]]
"""From a row to its prompt: a text, or a list of texts, images and PDFs in their order."""

_REASON_CHARACTERS = 300


class _NullColumn(jinja2.StrictUndefined):
    """A null in a column: false, equal to None, replaced by `default`; any other use is an error that names the column.

    None itself would be printed as the word "None" into a prompt that is then paid for.
    """

    __slots__ = ()

    # Jinja types what StrictUndefined refuses as methods that never return; these four answer.
    def __bool__(self) -> bool:  # type: ignore[override]
        return False

    def __eq__(self, other: object) -> bool:  # type: ignore[override]
        return other is None or isinstance(other, _NullColumn)

    def __ne__(self, other: object) -> bool:  # type: ignore[override]
        return not self == other

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(None)


class _NullValue(Exception):  # a signal between the template and its renderer, seen by no caller
    """A null inside a value (a field of a struct, an item of a list) reached the text."""


def _refuse_null(value: object) -> object:
    if value is None:
        raise _NullValue
    return value


def _is_null(value: object) -> bool:
    return value is None or isinstance(value, _NullColumn)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # the output is a prompt, not HTML
        finalize=_refuse_null,
    )
    # A column may be called "namespace" or "range"; with the globals in place the template would print Jinja's object.
    environment.globals.clear()
    environment.tests["none"] = _is_null
    environment.filters |= prompt_parts.FILTERS
    return environment


_ENVIRONMENT = _environment()


class Prompt:
    """A prompt compiled from a Jinja2 template over column names, or from a function of a row (a dict) to a text.

    Templates are strict (an unknown name is an error) and sandboxed; they have no globals, no includes and no
    autoescape, and lose one trailing newline. `{{ column | image }}` and `{{ column | pdf }}` put an image or a PDF
    there, of which the column holds the address or the bytes; a function returns them in a list with texts.
    `system` is a constant text: it is sent as it stands. Raises PromptError when the template cannot be compiled.
    """

    __slots__ = ("_function", "_plain", "_template", "columns", "kinds", "system", "text")

    text: str
    """The template's text, or the function's source where that can be had (else its qualified name)."""

    system: str | None

    columns: frozenset[str] | None
    """The columns that the template uses; None for a function, which is given every column."""

    kinds: tuple[str, ...]
    """Which parts besides texts the template has: `image`, `pdf`. Empty for a function, of which it is not known."""

    def __init__(self, template: str | PromptFunction, *, system: str | None = None) -> None:
        _check_system(system)
        self.system = system
        self._function: PromptFunction | None = None
        self._template: jinja2.Template | None = None
        self._plain: tuple[Piece, ...] | None = None
        self.kinds = ()
        if isinstance(template, str):
            self.text = template
            tree = _parse(template)
            self._template = _compile(template)
            self.columns = frozenset(jinja2.meta.find_undeclared_variables(tree))
            self._plain = _plain_pieces(tree)
            used = {each.name for each in tree.find_all(jinja2.nodes.Filter)}
            self.kinds = tuple(kind for kind in prompt_parts.FILTERS if kind in used)
        elif callable(template):
            self.text = _source(template)
            self.columns = None
            self._function = template
        else:
            raise PromptError(
                f"prompt is a {type(template).__name__}; write a Jinja2 template (a text) or a function of a row."
            )

    @property
    def identity(self) -> str:
        """What tells this prompt from another one: kind, name, text and system text. Equal identity, equal prompt."""
        kind = "template" if self._function is None else f"function {_qualified_name(self._function)}"
        return orjson.dumps([kind, self.text, self.system]).decode()

    def __repr__(self) -> str:
        shown = self.text if len(self.text) <= 60 else f"{self.text[:60]}…"
        return f"Prompt({shown!r})"

    def check(self, available: Sequence[str]) -> None:
        """Raise PromptError if the template uses a column that is not among `available`; name it and the closest."""
        if self.columns is None:
            return
        unknown = sorted(self.columns - set(available))
        if not unknown:
            return
        parts = []
        for name in unknown:
            close = difflib.get_close_matches(name, available, n=1, cutoff=0.5)
            parts.append(f"{name!r} (did you mean {close[0]!r}?)" if close else repr(name))
        noun = "column" if len(unknown) == 1 else "columns"
        exist = ", ".join(repr(name) for name in available) or "none"
        raise PromptError(f"prompt uses the unknown {noun} {', '.join(parts)}. The rows have: {exist}.")

    def check_parts(self, form: PartsForm | None) -> None:
        """Raise PromptError if the template has images or PDFs and the provider takes none there."""
        for kind in self.kinds:
            if form is None:
                raise PromptError(f"prompt uses `| {kind}`, and {TEXT_ONLY}.")
            try:
                check_kind(kind, form.limits)
            except PartError as error:
                raise PromptError(f"prompt uses `| {kind}`, and {error}.") from None

    def render(self, batch: pa.RecordBatch, form: PartsForm | None = None) -> Rendered:
        """Render one content per row of `batch`, in order; `form` writes those with images and PDFs.

        A row that cannot be rendered (a null where text is printed, an undefined attribute, a function that raised or
        returned something else than a prompt, an empty prompt, an image that the provider does not take) becomes an
        error of that row. Raises PromptError only when the template uses a column that the batch does not have.
        """
        self.check(batch.schema.names)
        if self._plain is not None and all(
            is_plain(batch.schema.field(name).type) for name, is_column in self._plain if is_column
        ):
            contents, errors = render_plain(self._plain, batch)
            return Rendered(contents=contents, errors=errors)
        if self._function is not None:
            return _render_rows(batch, batch.schema.names, _by_function(self._function, form))
        assert self._template is not None
        assert self.columns is not None
        return _render_rows(batch, sorted(self.columns), _by_template(self._template, form))


# ---------------------------------------------------------------- compiling


def _check_system(system: str | None) -> None:
    if system is None:
        return
    if not isinstance(system, str):
        raise PromptError(f"system is a {type(system).__name__}; write a text, or leave it out.")
    if not system.strip():
        raise PromptError("system is empty; leave it out instead.")
    for mark in ("{{", "{%", "{#"):
        if mark in system:
            raise PromptError(
                f"system contains {mark!r}, but it is a constant text in which nothing is filled in; "
                "move what depends on the row to prompt."
            )
    _check_text("system", system)


def _check_text(setting: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(f"{setting} is not valid Unicode text (character {error.start}): {error.reason}.") from None


def _parse(template: str) -> jinja2.nodes.Template:
    _check_text("prompt", template)
    if not template.strip():
        raise PromptError("prompt is empty; write a template that uses at least one column.")
    try:
        tree = _ENVIRONMENT.parse(template)
    except jinja2.TemplateSyntaxError as error:
        raise PromptError(_syntax_message(error, template)) from None
    forbidden = (jinja2.nodes.Include, jinja2.nodes.Import, jinja2.nodes.FromImport, jinja2.nodes.Extends)
    for node in tree.find_all(forbidden):
        raise PromptError(
            f"prompt, line {node.lineno}: a template cannot load another one; write its text here, or use a function."
        )
    for name in tree.find_all(jinja2.nodes.Name):
        if name.name == "self":
            raise PromptError(f"prompt, line {name.lineno}: Jinja2 reserves the name 'self'; rename the column.")
    return tree


def _compile(template: str) -> jinja2.Template:
    try:
        return _ENVIRONMENT.from_string(template)
    except jinja2.TemplateSyntaxError as error:  # unknown filters and tests are found here
        raise PromptError(_syntax_message(error, template)) from None


def _syntax_message(error: jinja2.TemplateSyntaxError, template: str) -> str:
    lines = template.splitlines()
    line = lines[error.lineno - 1].strip() if 0 < error.lineno <= len(lines) else ""
    shown = f" ({line[:80]!r})" if line else ""
    return f"prompt, line {error.lineno}{shown}: {error.message}"


def _plain_pieces(tree: jinja2.nodes.Template) -> tuple[Piece, ...] | None:
    """Return the pieces of a template that has only constant text and `{{ column }}`; None if it has anything else."""
    pieces: list[Piece] = []
    for statement in tree.body:
        if not isinstance(statement, jinja2.nodes.Output):
            return None
        for node in statement.nodes:
            if isinstance(node, jinja2.nodes.TemplateData):
                pieces.append((node.data, False))
            elif isinstance(node, jinja2.nodes.Name) and node.ctx == "load":
                pieces.append((node.name, True))
            else:
                return None
    return tuple(pieces)


def _qualified_name(function: PromptFunction) -> str:
    owner = function if hasattr(function, "__qualname__") else type(function)
    return f"{owner.__module__}.{owner.__qualname__}"


def _source(function: PromptFunction) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # typed into a shell, a partial, a callable object
        return _qualified_name(function)


# ---------------------------------------------------------------- rendering row by row


def _render_rows(batch: pa.RecordBatch, names: Sequence[str], render: Callable[[dict[str, Any]], Content]) -> Rendered:
    errors: dict[int, str] = {}
    media: dict[int, MediaWeight] = {}
    columns = [column_values(batch.column(name), name, errors) for name in names]
    contents: list[bytes | None] = []
    for index in range(batch.num_rows):
        if index in errors:
            contents.append(None)
            continue
        row = {name: column[index] for name, column in zip(names, columns, strict=True)}
        content, reason, weight = render(row)
        contents.append(content)
        if reason is not None:
            errors[index] = reason if len(reason) <= _REASON_CHARACTERS else f"{reason[:_REASON_CHARACTERS]}…"
        if weight is not None:
            media[index] = weight
    return Rendered(contents=pa.array(contents, pa.large_binary()), errors=errors, media=media)


def _by_template(template: jinja2.Template, form: PartsForm | None) -> Callable[[dict[str, Any]], Content]:
    def render(row: dict[str, Any]) -> Content:
        values = {
            name: _NullColumn(hint=f"column {name!r} is null", name=name) if value is None else value
            for name, value in row.items()
        }
        held: list[Image | Pdf] = []
        try:
            text = template.render({**values, prompt_parts.HELD: held})
            return text_content(text) if not held else parts_content(prompt_parts.split(text, held), form)
        except _NullValue:
            return Content(None, "a value that the template prints is null")
        except jinja2.UndefinedError as error:
            return Content(None, str(error.message))
        except PartError as error:
            return Content(None, str(error))
        except Exception as error:  # noqa: BLE001  # whatever a row does to a template is that row's error
            return Content(None, f"the template failed with {type(error).__name__}: {error}")

    return render


def _by_function(function: PromptFunction, form: PartsForm | None) -> Callable[[dict[str, Any]], Content]:
    def render(row: dict[str, Any]) -> Content:
        try:
            content: object = function(row)
        except Exception as error:  # noqa: BLE001  # whatever a row does to the user's function is that row's error
            return Content(None, f"the prompt function raised {type(error).__name__}: {error}")
        if isinstance(content, Image | Pdf):
            content = [content]
        return parts_content(content, form) if isinstance(content, list | tuple) else text_content(content)

    return render
