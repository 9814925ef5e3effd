"""Hash what decides a survey's rows: the parts of its declaration and the source of its functions."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping


def _counts(module: str, own: str) -> bool:
    """Tell whether the source of another function counts: it is of the same module, or of one of ours beside the vocabulary."""
    return module == own or (module.startswith("lake.") and not module.startswith("lake.columns"))


def source_of(function: Callable[..., object], seen: frozenset[str] = frozenset()) -> str:
    """Return the source of a function and of all of ours that it uses: functions, cached ones too, and constants."""
    parts = [inspect.getsource(function)]
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes.extend(part for part in code.co_consts if inspect.iscode(part))
        for name in sorted(set(code.co_names) - seen):
            held = function.__globals__.get(name)
            held = inspect.unwrap(held) if callable(held) else held
            if inspect.isfunction(held) and _counts(held.__module__, function.__module__):
                parts.append(source_of(held, seen | {name, function.__name__}))
            elif isinstance(held, frozenset):
                parts.append(f"{name} = {sorted(map(repr, held))}")
            elif isinstance(held, str | int | float | tuple | dict | list):
                parts.append(f"{name} = {held!r}")
    return "\n".join(parts)


def plain(part: object) -> object:
    """Return a part of a declaration as JSON-like content."""
    if isinstance(part, tuple):
        return [plain(one) for one in part]
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        return {"is": type(part).__name__, **{one.name: plain(getattr(part, one.name)) for one in dataclasses.fields(part)}}
    return dict(part) if isinstance(part, Mapping) else part
