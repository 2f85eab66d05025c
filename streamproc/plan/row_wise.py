"""Does an expression see one row only? (law 1)

Polars says so of each node (`is_row_separable`), not of a whole expression: the root of `v - v.mean()` is separable.
So every node is asked, and then a sample frame is evaluated whole and cut, to catch what the nodes don't know.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from streamproc.plan.sample import sample

PYTHON = "a Python function (map_elements, map_batches, name.map)"
_CALLS = {
    "any_ignore_nulls": "any",
    "all_ignore_nulls": "all",
    "pearson_correlation": "corr",
    "slice": "slice, head, tail or limit",
    "concat_vertical": "str.join",
    "strptime": "str.to_datetime without a format (it is guessed from the first value)",
    "arg_where": "arg_true or arg_where",
    "python_udf": PYTHON,
}
_CODES = ('"function":"ToPhysical"', '"function":{"Categorical":"Physical"}', '"function":{"Hash"')
_RANDOM = {"Random", "Sample", "SampleN", "SampleFrac"}


def dependent_call(expr: pl.Expr) -> str | None:
    """The call in `expr` that looks at other rows, changes their number, is random or is Python; None if there is none.

    >>> dependent_call(pl.col("v") - pl.col("v").mean())
    'mean'
    >>> dependent_call(pl.col("s").str.to_uppercase()) is None
    True
    """
    try:
        tree = json.loads(expr.meta.serialize(format="json"))
    except (pl.exceptions.PolarsError, ValueError):
        return PYTHON
    found: list[str] = []
    plain = _plain(tree, found)
    if found:
        return found[0]
    return _walk(pl.Expr.deserialize(io.StringIO(json.dumps(plain)), format="json"))


def shows_codes(expr: pl.Expr, columns: Mapping[str, pl.DataType]) -> bool:
    """Whether it may show the numbers behind a Categorical: they depend on the texts that the process saw before."""
    text = expr.meta.serialize(format="json")
    if not any(call in text for call in _CODES):
        return False
    used = expr.meta.root_names() or list(columns)
    types = [str(columns[name]) for name in used if name in columns]
    return '{"Categorical":{"name"' in text or any("Categorical" in dtype for dtype in types)


def _walk(node: pl.Expr) -> str | None:
    """Innermost first: it is the cause of what is around it."""
    children = node.meta.pop()
    for child in children:
        if found := _walk(child):
            return found
    if str(node) == "Series" and not children:
        return None  # an argument such as that of is_in; the sample tells if it is more
    try:
        alone = node.meta.is_row_separable() and (node.meta.is_length_preserving() or node.meta.is_scalar())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        alone = False
    return None if alone else _call(node)


def _plain(tree: Any, found: list[str]) -> Any:
    """The expression with what can't be judged without types replaced by what it reads.

    Selectors become a column. An evaluation inside a list sees one row whatever it does, unless it is random.
    """
    if isinstance(tree, list):
        return [_plain(item, found) for item in tree]
    if not isinstance(tree, dict):
        return tree
    match tree:
        case {"Literal": _}:
            return tree
        case {"Selector": _}:
            return {"Column": "selected"}
        case {"Field": [name, *_]}:
            return {"Column": name}
        case {"AnonymousFunction": _} | {"AnonymousAgg": _} | {"RenameAlias": {"function": {"Map": _}}}:
            found.append(PYTHON)
        case {"Eval": {"expr": inner, "evaluation": evaluation, "variant": variant}}:
            if isinstance(variant, dict) and "Cumulative" in variant:
                found.append("cumulative_eval")
            _find_opaque(evaluation, found)
            return _plain(inner, found)
        case {"StructEval": {"expr": inner, "evaluation": evaluation}}:
            inputs = [_plain(inner, found), *_plain(evaluation, found)]
            return {"Function": {"input": inputs, "function": "AsStruct"}}
        case {"Function": {"input": [inner], "function": {"StructExpr": {"SelectFields": _}}}}:
            return _plain(inner, found)
        case {"Function": {"function": function}}:
            _find_random(function, found)
    return {key: _plain(value, found) for key, value in tree.items()}


def _find_random(function: Any, found: list[str]) -> None:
    if isinstance(function, dict):
        for key, value in function.items():
            if key in _RANDOM:
                found.append("shuffle or sample")
            _find_random(value, found)


def _find_opaque(evaluation: Any, found: list[str]) -> None:
    """Random calls and Python anywhere inside."""
    if isinstance(evaluation, list):
        for item in evaluation:
            _find_opaque(item, found)
    elif isinstance(evaluation, dict):
        if "AnonymousFunction" in evaluation:
            found.append(PYTHON)
        if "Function" in evaluation:
            _find_random(evaluation["Function"].get("function"), found)
        for value in evaluation.values():
            _find_opaque(value, found)


def _call(node: pl.Expr) -> str:
    """The name of a node's own call, as users write it."""
    text = str(node)
    if "fill_null_with_strategy" in text.rsplit(".", 1)[-1]:
        strategy = json.loads(node.meta.serialize(format="json"))["Function"]["function"]["FillNullWithStrategy"]
        forward = next(iter(strategy)) if isinstance(strategy, dict) else strategy
        return {"Forward": "forward_fill", "Backward": "backward_fill"}.get(forward, "fill_null(strategy=...)")
    depth = 0
    for at in range(len(text) - 1, -1, -1):
        depth += (text[at] in ")]") - (text[at] in "([")
        if depth == 0 and text[at] == "(":
            name = re.search(r"(\w+)$", text[:at])
            if name:
                return _CALLS.get(name[1], name[1])
    return text[:60]


def differs_by_cut(expr: pl.Expr, columns: dict[str, pl.DataType]) -> bool:
    """True if a sample of `columns` shows that rows depend on each other; False proves nothing."""
    for frame in (sample(columns), sample(columns, nulls=True)):
        try:
            whole = _evaluate(frame, expr)
        except pl.exceptions.ShapeError:
            return True
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            continue  # the values don't suit the expression: says nothing
        try:
            pieces = [_evaluate(frame[at : at + 1], expr) for at in range(frame.height)]
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return True
        if not whole.equals(pl.concat(pieces)):
            return True
    return False


def _evaluate(frame: pl.DataFrame, expr: pl.Expr) -> pl.DataFrame:
    """With a column beside it, so that a literal is repeated and another length is an error."""
    beside = pl.repeat(0, frame.height, eager=True).alias("__beside")
    return frame.with_columns(beside).select(pl.col("__beside"), pl.struct(expr).alias("__value"))
