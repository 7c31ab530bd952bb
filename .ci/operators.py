"""Runs every command of docs/operators.md, in its order: against the emulator, and against a local AWS
(ministack) that holds a fleet of functions such as the page's.
"""

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import boto3

import local_aws
import pages
import rollout

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "target"
PAGE = ROOT / "docs/operators.md"
REGIONS = ("eu-west-1", "us-east-1")

# Seconds that a block may take. Some build.
BLOCK_S = 900

fail, equal, has = rollout.fail, rollout.equal, rollout.has


class Fleet(rollout.Fleet):
    """The functions of the page in one region."""

    def __init__(self, endpoint, region):
        super().__init__(endpoint, region)
        self.other = self.layer("tracing")
        self.create("orders-a", team="orders", layers=[self.other])
        self.create("orders-b", team="orders", arch="arm64", runtime="nodejs22.x")
        self.create("mail", team="mail")

    def ours(self):
        """Of each function, the names and versions of its layers."""
        return {
            name: [":".join(arn.split(":")[6:]) for arn in self.layers(name)]
            for name in ("orders-a", "orders-b", "mail")
        }


def prepare_logs(endpoint):
    """What the emulator wrote for the page is in the log group of the function; a bucket and a database are
    there."""
    logs = boto3.client("logs", endpoint_url=endpoint, region_name=REGIONS[0])
    group = {"logGroupName": "/aws/lambda/orders-a"}
    logs.create_log_group(**group)
    logs.create_log_stream(**group, logStreamName="1")
    lines = (TARGET / "local/log.txt").read_text().splitlines()
    now = local_aws.now_ms()
    events = [{"timestamp": now, "message": line} for line in lines if line]
    logs.put_log_events(**group, logStreamName="1", logEvents=events)
    s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    s3.create_bucket(Bucket="orders-logs")
    # The one that Athena takes where none is named.
    glue = boto3.client("glue", endpoint_url=endpoint, region_name=REGIONS[0])
    glue.create_database(DatabaseInput={"Name": "default"})


def newer_zips():
    """The zips of another release."""
    for arch in ("x86_64", "aarch64"):
        with zipfile.ZipFile(TARGET / f"layer/bantam-{arch}.zip", "a") as archive:
            archive.comment = b"another release"


def run_block(heading, block, environment):
    """Runs a block as its reader would, at the root of the repository; all that it wrote."""
    print(f"## {heading}\n{block}", end="", flush=True)
    status, text = pages.run(block, ROOT, environment, BLOCK_S)
    if status != 0:
        fail(f"the commands under {heading!r} ended with {status}")
    return text


def check(heading, text, fleets):
    """What a section has to have done."""
    x86, arm = "bantam-x86_64", "bantam-arm64"

    def each(orders_a, orders_b):
        for fleet in fleets:
            expected = {"orders-a": [*orders_a, "tracing:1"], "orders-b": orders_b, "mail": []}
            equal(f"{heading} in {fleet.region}", fleet.ours(), expected)

    match heading:
        case "See it work":
            equal("lines of a start", text.count('"cold_start_kind":"on_demand"'), 1)
        case "Put it on the functions":
            has(text, "without, beside 1 other", "4 changed")
            each([f"{x86}:1"], [f"{arm}:1"])
        case "Read the lines":
            lines = (TARGET / "lines.txt").read_text().split("\n")
            found = [json.loads(line)["function_name"] for line in lines if line]
            equal("lines", found, ["orders-a"])
        case "Look at the dashboard":
            has(text, '"bantam"', "bantam-init-failures")
        case "Ask the logs":
            has(text, '"status": "Complete"')
        case "Make the picture":
            has(text, "1 cold start")
            has((TARGET / "report.html").read_text(), "<svg", "orders-a")
        case "Upgrade":
            has(text, "1 changed", "3 changed, 1 as wanted already")
            each([f"{x86}:2"], [f"{arm}:2"])
        case "Roll back":
            has(text, "3 changed")
            near, far = (fleet.ours() for fleet in fleets)
            # The canary was another run.
            equal("near", near["orders-a"][0], f"{x86}:2")
            equal("far", far["orders-a"][0], f"{x86}:1")
        case "Remove":
            has(text, "4 changed")
            each([], [])


def sections(text):
    """Of each heading of a page, its blocks of `sh`, in their order."""
    found = {}
    for block in pages.blocks(text):
        if block.language == "sh":
            found.setdefault(block.heading, []).append(block.text)
    return found


def clear():
    """Takes away what an earlier run left where this one writes."""
    shutil.rmtree(TARGET / "local", ignore_errors=True)
    for path in (TARGET / "lines.txt", TARGET / "report.html", *TARGET.glob("*.jsonl")):
        path.unlink(missing_ok=True)


def main():
    found = sections(PAGE.read_text())
    clear()
    with local_aws.ministack(Path(os.environ["SCRATCH"])) as endpoint:
        fleets = [Fleet(endpoint, region) for region in REGIONS]
        environment = os.environ | {"AWS_ENDPOINT_URL": endpoint}
        before = {"Read the lines": lambda: prepare_logs(endpoint), "Upgrade": newer_zips}
        equal("headings that the page lacks", before.keys() - found.keys(), set())
        for heading, blocks in found.items():
            before.get(heading, lambda: None)()
            text = "".join(run_block(heading, block, environment) for block in blocks)
            check(heading, text, fleets)
    count = sum(len(blocks) for blocks in found.values())
    print(f"operators: {count} blocks of commands under {len(found)} headings", file=sys.stderr)


if __name__ == "__main__":
    main()
