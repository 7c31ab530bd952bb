"""Holds what layer/ asks of the extension's lines to lines that it wrote in the emulator: the queries
for Logs Insights and for Athena find what happened, and Athena's tables are those of bantam-report.
And the Grafana dashboard has nothing in it that Grafana's own model does not know.

Neither language has an engine here. Both run on DuckDB: .ci/insights.py translates the one, sqlglot
the other (Trino's).
"""

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import duckdb
import sqlglot
from sqlglot import exp
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

import insights

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = Path(os.environ["SCRATCH"])
TARGET = ROOT / "target"
EXTENSION = TARGET / "layer/x86_64/bantam"
EMULATOR = TARGET / "debug/bantam-emulator"
REPORT = TARGET / "debug/bantam-report"
FAULTY = TARGET / "debug/examples/faulty"

# Seconds that a run of the emulator may take.
RUN_S = 60

# Of the generated logs: functions, versions and zones of each, and starts of each of those.
FUNCTIONS, VERSIONS, ZONES, STARTS = 20, 2, ("use1-az1", "use1-az2"), 12
SEED = 20_260_609

# Events for the function that does what its event says.
ECHO, SLEEP, EXIT = {"do": "echo", "value": 7}, {"do": "sleep", "ms": 30_000}, {"do": "exit", "code": 3}


def fail(text):
    sys.exit(f"tables: {text}")


def equal(what, found, expected):
    if found != expected:
        fail(f"{what}: {found!r}\nexpected: {expected!r}")


def close(what, found, expected):
    """The same figure, or nothing on both sides."""
    if (found is None) != (expected is None):
        fail(f"{what}: {found}, expected {expected}")
    # Prices of a start are far below one.
    least = 0 if "_usd" in what else 1
    if found is not None and abs(found - expected) > 1e-6 * max(least, abs(expected)):
        fail(f"{what}: {found}, expected {expected}")


def emulated(name, *events, function=FAULTY, options=()):
    """Runs a function beside the extension; the lines of starts that the extension wrote."""
    command = [EMULATOR, "run", "--function", function, "--name", name, "--extension", EXTENSION, *options]
    for number, event in enumerate(events):
        path = SCRATCH / f"{name}-{number}.json"
        path.write_text(json.dumps(event))
        command += ["--event", path]
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{") and '"cold_start_kind"' in line]
    if not lines:
        fail(f"{name}: no line of a start\n{done.stdout}")
    return lines


def scenario():
    """Lines of functions that start well, fail in init, time out and crash."""
    lines = []
    for number in range(3):
        lines += emulated(f"good-{number}", ECHO, ECHO)
    # Without a metric a line has no "_aws".
    lines += (bare := emulated("bare", ECHO, options=["--env", "BANTAM_EMF_METRICS=none"]))
    if any('"_aws"' in line for line in bare):
        fail(f"metrics nobody chose: {bare}")
    lines += emulated("times-out", SLEEP, ECHO, ECHO, options=["--timeout", "1"])
    lines += emulated("crashes", EXIT, ECHO, ECHO)
    bad = SCRATCH / "bad"
    bad.write_text("#!/bin/sh\nexit 3\n")
    bad.chmod(0o755)
    return lines + emulated("fails", ECHO, function=bad)


class Insights:
    """Logs Insights over lines: each member of a line is a field."""

    def __init__(self, lines):
        self.database = duckdb.connect()
        path = SCRATCH / "lines.json"
        path.write_text("\n".join(lines) + "\n")
        self.database.execute(
            "CREATE TABLE log AS SELECT * FROM read_json($path, format='newline_delimited', sample_size=-1)",
            {"path": str(path)},
        )

    def ask(self, name):
        """The rows of a query of layer/queries."""
        text = (ROOT / f"layer/queries/{name}.txt").read_text()
        answer = self.database.execute(insights.translated(text, "log"))
        names = [column[0] for column in answer.description]
        return [dict(zip(names, row)) for row in answer.fetchall()]


def check_insights(lines):
    engine = Insights(lines)
    starts = [json.loads(line) for line in lines]
    names = sorted(path.stem for path in (ROOT / "layer/queries").glob("*.txt"))
    equal("queries", names, ["causes", "failures", "parts", "versions", "waits", "zones"])
    rows = {name: engine.ask(name) for name in names}
    for name, found in rows.items():
        if not found:
            fail(f"{name} finds nothing")

    waited = {}
    for start in starts:
        if start.get("cold_starts") == 1 and "cold_start_duration" in start:
            of = waited.setdefault(start["function_name"], [])
            of.append(start["cold_start_duration"] - start["first_invocation_duration"])
    for row in rows["waits"]:
        close("waited", row["waited_ms"], sum(waited[row["function_name"]]))
    order = [row["waited_ms"] for row in rows["waits"]]
    equal("the longest first", order, sorted(order, reverse=True))

    causes = {row["function_name"]: set() for row in rows["causes"]}
    for row in rows["causes"]:
        causes[row["function_name"]].add(row["cause"])
    for function, cause in (("times-out", "timeout"), ("crashes", "crash"), ("good-0", "demand")):
        if cause not in causes[function]:
            fail(f"{function} has the causes {causes[function]}, not {cause}")
    equal("counted", sum(row["starts"] for row in rows["causes"]), len(starts))

    failures = {(row["function_name"], row["failure"]) for row in rows["failures"]}
    for expected in (("times-out", "timeout"), ("crashes", "crash")):
        if expected not in failures:
            fail(f"{expected} is not among {failures}")
    if not any(function == "fails" for function, _ in failures):
        fail(f"the failed init is not among {failures}")

    for row in rows["parts"]:
        of = [start for start in starts if start["function_name"] == row["function_name"]]
        values = [start["init_runtime_duration"] for start in of if "init_runtime_duration" in start]
        if values:
            close("runtime", row["runtime_ms"], sum(values) / len(values))
    print(f"tables: {len(rows)} queries of Logs Insights over {len(lines)} lines", file=sys.stderr)


def many(lines):
    """Logs of a fleet: the good starts again and again, with other names, times and figures."""
    random.seed(SEED)
    models = [json.loads(line) for line in lines if '"cold_starts":1' in line]
    out = []
    for function in range(FUNCTIONS):
        for version in range(1, VERSIONS + 1):
            for zone in ZONES:
                for _ in range(STARTS):
                    start = dict(random.choice(models))
                    start |= {"function_name": f"orders-{function}", "function_version": str(version)}
                    start |= {"availability_zone": zone, "request_id": f"{random.getrandbits(64):x}"}
                    start["instance_id"] = f"2026/06/09/[{version}]{random.getrandbits(64):016x}"
                    # The begin of June 9th, and a day of it.
                    at = 1_780_963_200_000 + random.randrange(86_400_000)
                    if "_aws" in start:
                        start["_aws"] = start["_aws"] | {"Timestamp": at + 1_000}
                    # One of an init type that the extension does not know is waited for, too.
                    start["cold_start_kind"] = random.choice([start["cold_start_kind"], "other"])
                    start["start_ms"] = at
                    factor = random.lognormvariate(0, 1)
                    for name, value in start.items():
                        if name.endswith("_duration"):
                            start[name] = round(value * factor, 3)
                    start["architecture"] = random.choice(["x86_64", "arm64"])
                    out.append(start)
    return out


def ends_of(starts):
    """The lines of the ends of the environments, of which the first two functions write none."""
    ends = []
    for start in starts:
        if start["function_name"] not in ("orders-0", "orders-1"):
            end = {name: start[name] for name in ("function_name", "function_version", "instance_id", "start_ms")}
            ends.append(end | {"environment_invocations": random.randint(1, 90), "end_ms": start["start_ms"] + 700_000})
    return ends


class Athena:
    """Athena over files: the table as its definition has it, and Trino's dialect."""

    def __init__(self, files):
        self.database = duckdb.connect()
        definition = self.parsed("table")
        properties = {type(part) for part in definition.args["properties"].expressions}
        expected = {exp.ExternalProperty, exp.LocationProperty, exp.RowFormatDelimitedProperty}
        if not expected <= properties:
            fail(f"the table has {properties}")
        columns = [column.name for column in definition.find_all(exp.ColumnDef)]
        equal("columns of the table", columns, ["line"])
        self.database.execute("CREATE TABLE bantam_lines (line VARCHAR)")
        for path in files:
            opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
            with opened as content:
                rows = [(line.rstrip("\n"),) for line in content]
            self.database.executemany("INSERT INTO bantam_lines VALUES (?)", rows)
        self.database.execute(self.translated("starts"))

    @staticmethod
    def parsed(name):
        text = (ROOT / f"layer/athena/{name}.sql").read_text()
        return sqlglot.parse_one(text, read="athena")

    def translated(self, name):
        def exact(node):
            # What Athena approximates and bantam-report has exactly.
            if isinstance(node, exp.ApproxQuantile):
                return exp.Anonymous(this="quantile_cont", expressions=[node.this, node.args["quantile"]])
            return node

        return self.parsed(name).transform(exact).sql(dialect="duckdb")

    def ask(self, name):
        answer = self.database.execute(self.translated(name))
        names = [column[0] for column in answer.description]
        return [dict(zip(names, row)) for row in answer.fetchall()]


def files_of(starts):
    """The lines as S3 has them: exported with times and compressed, and as they are."""
    exported, plain = SCRATCH / "export/000000.gz", SCRATCH / "firehose/lines.json"
    for path in (exported, plain):
        path.parent.mkdir()
    half = len(starts) // 2
    with gzip.open(exported, "wt") as out:
        out.write("2026-06-09T00:00:00.000Z START RequestId: 6d68 Version: 7\n")
        for start in starts[:half]:
            out.write(f"2026-06-09T00:00:01.000Z {compact(start)}\n")
    plain.write_text("".join(compact(start) + "\n" for start in starts[half:]))
    return [exported, plain]


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def check_athena(lines):
    starts = many(lines)
    ends = ends_of(starts)
    files = files_of(starts + ends)
    engine = Athena(files)
    report = SCRATCH / "report.json"
    done = subprocess.run(
        [str(REPORT), *map(str, files), "--json", str(report)], capture_output=True, text=True, timeout=RUN_S, check=False
    )
    if done.returncode != 0:
        fail(f"bantam-report: {done.stderr}")
    tables = json.loads(report.read_text())["tables"]
    keys = {
        "functions": ["function_name"],
        "versions": ["function_name", "function_version"],
        "zones": ["availability_zone"],
    }
    for name, key in keys.items():
        compare(name, engine.ask(name), tables[name], key, ["init_ms", "first_invocation_ms"])
    compare("init_parts", engine.ask("init_parts"), tables["init_parts"], ["part"], ["duration_ms"])
    shares = [row["cold_start_share"] for row in tables["functions"]]
    equal("functions without a share", shares.count(None), 2)
    prices = [row["billed_init_usd"] for row in tables["functions"]]
    if not all(0 < price < 1 for price in prices):
        fail(f"prices of inits: {prices}")
    close("the sum of billed_init_usd", tables["totals"]["billed_init_usd"], sum(prices))
    rows = engine.ask("over_time")
    equal("starts over time", sum(row["environment_starts"] for row in rows), len(starts))
    rows = engine.ask("causes")
    equal("starts by cause", sum(row["environment_starts"] for row in rows), len(starts))
    rows = engine.ask("failures")
    broken = [start for start in starts if start["cause"] in ("timeout", "crash")]
    equal("failures", sum(row["times"] for row in rows), len(broken))
    print(f"tables: Athena and bantam-report agree on {len(starts)} starts", file=sys.stderr)


def compare(name, rows, expected, key, summaries):
    """Whether the rows of a query are those of a table of the report."""
    found = {tuple(row[part] for part in key): row for row in rows}
    expected = {tuple(row[part] for part in key): row for row in expected}
    equal(f"rows of {name}", sorted(found), sorted(expected))
    for place, row in found.items():
        told = expected[place]
        for column, value in row.items():
            if column in key:
                continue
            whole = next((prefix for prefix in summaries if column.startswith(prefix + "_")), None)
            if whole:
                other = told[whole][column.removeprefix(whole + "_")]
            elif column == "memory_used_mb_max":
                other = told["memory_used_mb"]["max"]
            else:
                other = told[column]
            close(f"{name} {place} {column}", value, other)


def check_grafana():
    text = (ROOT / "layer/grafana.json").read_text()
    register_default_plugins()
    written = json.loads(text)
    known = json.loads(JSONEncoder().encode(Dashboard.from_json(written)))
    lost = list(differences(written, known, "grafana.json"))
    equal("what Grafana does not know", lost, [])
    print(f"tables: {len(written['panels'])} panels as Grafana has them", file=sys.stderr)


def differences(written, known, path):
    if isinstance(written, dict) and isinstance(known, dict):
        for name, value in written.items():
            yield from differences(value, known[name], f"{path}.{name}") if name in known else [f"{path}.{name}"]
    elif isinstance(written, list) and isinstance(known, list) and len(written) == len(known):
        for number, (one, other) in enumerate(zip(written, known)):
            yield from differences(one, other, f"{path}[{number}]")
    elif written != known:
        yield f"{path}: {written!r} and {known!r}"


if __name__ == "__main__":
    check_grafana()
    written = scenario()
    check_insights(written)
    check_athena(written)
