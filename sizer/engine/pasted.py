"""What people paste becomes the text of a POSIX shell: other shells, prompts, redirections, variables and sums.

Documents that hold a command are `sizer.engine.documents`' to read.
"""

from __future__ import annotations

import ast
import operator
import re
import shlex

from sizer.engine.documents import document_command
from sizer.regex import sparing

MOST_VALUE_CHARACTERS = 100_000
"""Of the values of variables, all together."""
_CONTINUED = re.compile(r"[ \t][`^][ \t]*\r?\n")
_COMMENTED_END = re.compile(r"\\[ \t]*(?:#[^\n]*)?\r?\n")
"""A line that goes on: what stands behind its backslash is a comment, or a slip."""
_FENCE = re.compile(r"^[ \t]*(```|~~~).*$", re.MULTILINE)
_PROMPT = re.compile(
    r"^[ \t]*(?:[$>%]|PS [^>\n]*>|[A-Za-z]:\\[^>\n]*>|[\w.-]+@[\w.-]+[: ][^$#\n]*[$#])[ \t]+(?=\S)", re.MULTILINE
)
_NOTEBOOK = re.compile(r"^[ \t]*!(?=[\w./])|^%%(?:bash|sh)\b.*$", re.MULTILINE)
_NOTEBOOK_SET = re.compile(r"^[ \t]*%env[ \t]+(\w+)[= ][ \t]*(\S+)[ \t]*$", re.MULTILINE)
"""A notebook's `!command`, its cells of a shell, and `%env NAME=VALUE`."""
_OLLAMA_SET = re.compile(r"^[ \t]*(?:>>>[ \t]*)?/set[ \t]+parameter[ \t]+(\w+)[ \t]+(\S+)[ \t]*$", re.MULTILINE)
"""What is told to a model that `ollama run` has loaded, which is loaded anew for it."""
_OLLAMA_RUN = re.compile(r"\bollama[ \t]+run\b[^\n]*")
_LONG_DASH = re.compile(r"(?<=\s)[–—](?=[A-Za-z])")  # noqa: RUF001 - what word processors make of two dashes
_WINDOWS_PATH = re.compile(r"(?<![^\s\"'=])(?:[A-Za-z]:|\.{1,2})\\[^\s\"']*")
_POWERSHELL_SET = re.compile(r"^[ \t]*\$env:(\w+)[ \t]*=[ \t]*(\S.*)$", re.MULTILINE)
_CMD_SET = re.compile(r"^[ \t]*set[ \t]+\"?(\w+)=([^\"\n&]*)(?:\"[ \t]*(?:&&|$)|&&|$)", re.MULTILINE | re.IGNORECASE)
_REDIRECTED = re.compile(r"(?<=\s)(?:\d?>>?|&>>?)[ \t]*(?:&\d|[^\s;|&]+)")
_SET_VARIABLE = re.compile(r"^(?:export[ \t]+)?([A-Za-z_]\w*)=(\"[^\"\n]*\"|'[^'\n]*'|[^\s;\"']*)[ \t]*(?:[;#].*)?$")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?-([^}]*))?\}|([A-Za-z_]\w*))")
_SUM = re.compile(r"\$\(\(([\d\s+*/()-]{1,80})\)\)")
_SUBSTITUTED = re.compile(r"\$\((?:[^()\n]|\([^()\n]*\))*\)")
_QUOTED_CODE = re.compile(r"^[ \t]*`([^`\n]+)`[ \t]*$", re.MULTILINE)
UNTOLD = "$(...)"
"""Stands for what only running a command tells."""


def shell_text(text: str) -> str:
    """The same as a POSIX shell would be told it: one command a line or several, without prompts and redirections."""
    text = _QUOTED_CODE.sub(r"\1", _FENCE.sub("", text))
    text = document_command(text) or text
    text = _CONTINUED.sub(" ", _COMMENTED_END.sub(" ", text))
    if told := "".join(f" {name}={value}" for name, value in _OLLAMA_SET.findall(text)):
        text = _OLLAMA_RUN.sub(lambda found: found[0] + told, _OLLAMA_SET.sub("", text), count=1)
    text = _NOTEBOOK_SET.sub(r"export \1=\2", _NOTEBOOK.sub("", _PROMPT.sub("", text)))
    text = _LONG_DASH.sub("--", text)
    text = _POWERSHELL_SET.sub(lambda found: f"export {found[1]}=" + found[2].rstrip(" \t;"), text)
    text = _CMD_SET.sub(lambda found: f"export {found[1]}={shlex.quote(found[2].strip())}\n", text)
    text = _WINDOWS_PATH.sub(lambda found: found[0].replace("\\", "/"), text)
    return _with_sums(_with_variables(_REDIRECTED.sub("", text)))


def _with_sums(text: str) -> str:
    """The text with a shell's sums of numbers worked out, `$((32 * 1024))`; other substitutions are not known."""
    return _SUBSTITUTED.sub(UNTOLD, _SUM.sub(lambda found: _sum(found[1]) or found[0], text))


def _sum(text: str) -> str:
    """The value of a sum of whole numbers; empty where it is none."""
    operations = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.floordiv}

    def value(node: ast.AST) -> int:
        if isinstance(node, ast.BinOp):
            return int(operations[type(node.op)](value(node.left), value(node.right)))
        return int(ast.literal_eval(node))

    try:
        return str(value(ast.parse(text.strip(), mode="eval").body))
    except (SyntaxError, ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError):
        return ""


def _with_variables(text: str) -> str:
    """The text with shell variables that it sets itself put in, and defaults of those that it does not.

    Values that name each other may double from line to line: no more than a bound is put in.
    """
    values: dict[str, str] = {}
    lines = []
    put_in = sparing(lambda found: _value_of(found, values), MOST_VALUE_CHARACTERS)
    for line in re.sub(r"^([A-Za-z_]\w*=[^\s;]+);", r"\1\n", text, flags=re.MULTILINE).splitlines():
        told = _VARIABLE.sub(put_in, line)
        assigned = _SET_VARIABLE.match(told.strip())
        if assigned:
            values[assigned[1]] = assigned[2].strip("\"'")
        lines.append(told)
    return "\n".join(lines)


def _value_of(found: re.Match[str], values: dict[str, str]) -> str:
    name = found[1] or found[3]
    return values.get(name, found[2] if found[2] is not None else found[0])
