"""YAML, stricter: a key that comes twice is refused, and reasons do not quote the text, which may hold a secret."""

from __future__ import annotations

import re
from typing import Any

import yaml

Error = yaml.YAMLError

_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
_SIGN = re.compile(r"'(\\t|[],}]|<[a-z ]+>)'")
"""What YAML itself is made of: it may be quoted."""


def load(text: str) -> object:
    """What a text holds.

    Raises:
        Error: it is not valid YAML.

    >>> load("a: 1")
    {'a': 1}
    """
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader, and stricter


def reason(error: yaml.YAMLError) -> str:
    """What is wrong, in YAML's words, without anything of the text.

    >>> try:
    ...     load("a: *secret")
    ... except Error as error:
    ...     reason(error)
    'found undefined alias ...'
    """
    text = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "it can't be parsed")
    return _QUOTED.sub(lambda quoted: quoted[0] if _SIGN.fullmatch(quoted[0]) else "...", text)


class _Loader(yaml.SafeLoader):
    """By itself YAML lets the last one of two equal keys win, in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value in seen:
                raise yaml.constructor.ConstructorError(None, None, "a key comes twice", name.start_mark)
            seen.add(str(name.value))
        return super().construct_mapping(node, deep)
