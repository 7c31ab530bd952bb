"""The part of the Logs Insights language that layer/queries uses, as SQL for DuckDB: there is no
engine for it but AWS's. A field that no line has is an error here, where AWS would find nothing.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
"""

import re

TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>"[^"]*")
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<name>@?[A-Za-z_][A-Za-z0-9_.]*)
    | (?P<sign>!=|<=|>=|[=<>(),\[\]*/+-])
    )""",
    re.VERBOSE,
)

# Words that are the same in SQL.
WORDS = {"and", "or", "not", "as", "asc", "desc", "by"}

# Functions, with what SQL has for them; `pct` takes a percentage.
FUNCTIONS = {
    "sum": "sum({})",
    "avg": "avg({})",
    "min": "min({})",
    "max": "max({})",
    "count": "count({})",
    "coalesce": "coalesce({})",
    "ispresent": "(({}) IS NOT NULL)",
    "pct": "quantile_cont({0}, {1} / 100)",
}


class Unknown(Exception):
    """Something that the language or this subset of it does not have."""


def commands(text):
    """The commands of a query, without its comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [command.strip() for command in "\n".join(lines).split("|")]


def tokens(text):
    place, found = 0, []
    while text[place:].strip():
        match = TOKEN.match(text, place)
        if match is None:
            raise Unknown(text[place:])
        found.append((match.lastgroup, match[match.lastgroup]))
        place = match.end()
    return found


def sql(text):
    """Expressions as SQL."""
    return rendered(tokens(text))


def rendered(found):
    out, place = [], 0
    while place < len(found):
        kind, word = found[place]
        opens = place + 1 < len(found) and found[place + 1][1] == "("
        if kind == "text":
            out.append("'" + word[1:-1].replace("'", "''") + "'")
        elif kind == "name" and word.lower() in WORDS:
            out.append(word.lower())
        elif kind == "name" and word.lower() == "in":
            end = next(at for at in range(place, len(found)) if found[at][1] == "]")
            out.append("IN (" + rendered(found[place + 2 : end]) + ")")
            place = end
        elif kind == "name" and opens:
            if word not in FUNCTIONS:
                raise Unknown(f"the function {word}")
            end = closing(found, place + 1)
            arguments = [rendered(part) for part in split(found[place + 2 : end])]
            form = FUNCTIONS[word]
            out.append(form.format(*arguments) if "{1}" in form else form.format(", ".join(arguments)))
            place = end
        elif kind == "name":
            out.append('"' + word + '"')
        else:
            out.append(word)
        place += 1
    return " ".join(out)


def closing(found, opening):
    depth = 0
    for place in range(opening, len(found)):
        depth += {"(": 1, ")": -1}.get(found[place][1], 0)
        if depth == 0:
            return place
    raise Unknown("a parenthesis that does not end")


def split(found):
    """The arguments between commas."""
    parts, depth = [[]], 0
    for token in found:
        depth += {"(": 1, ")": -1}.get(token[1], 0)
        if token[1] == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def translated(text, table):
    """The SQL of a query over a table with a column for each field."""
    query = f"SELECT * FROM {table}"
    for command in commands(text):
        verb, _, rest = command.partition(" ")
        if verb == "filter":
            query = f"SELECT * FROM ({query}) WHERE {sql(rest)}"
        elif verb == "fields":
            query = f"SELECT *, {sql(rest)} FROM ({query})"
        elif verb == "stats":
            figures, by, groups = rest.rpartition(" by ")
            if not by:
                raise Unknown("stats without by")
            query = f"SELECT {sql(groups)}, {sql(figures)} FROM ({query}) GROUP BY {sql(groups)}"
        elif verb == "sort":
            query = f"SELECT * FROM ({query}) ORDER BY {sql(rest)}"
        elif verb == "limit":
            query = f"SELECT * FROM ({query}) LIMIT {int(rest)}"
        else:
            raise Unknown(f"the command {verb}")
    return query
