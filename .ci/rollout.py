"""Tries layer/rollout: on a local AWS (ministack) as a user runs it, and on a server that answers as
Lambda does on a bad day, which a local AWS has none of.
"""

import base64
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import urllib.parse
import uuid
import zipfile
from pathlib import Path

import boto3

ROOT = Path(__file__).resolve().parent.parent

# Seconds that a run may take.
RUN_S = 120


def fail(text):
    sys.exit(f"rollout: {text}")


def rollout(endpoint, *arguments, status=0, answer=None, cwd=ROOT):
    """Runs layer/rollout; all that it wrote."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "layer/rollout"), *map(str, arguments)],
        env=os.environ | {"AWS_ENDPOINT_URL": endpoint},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    text = done.stdout + done.stderr
    if done.returncode != status or "Traceback" in text:
        fail(f"{arguments}\n{text}\nended with {done.returncode}, expected {status}")
    return text


def has(text, *lines):
    missing = [line for line in lines if line not in text]
    if missing:
        fail(f"{missing} not in:\n{text}")


def equal(what, found, expected):
    if found != expected:
        fail(f"{what}: {found!r}\nexpected: {expected!r}")


def function_zip():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("index.py", "def handler(event, context): return {}")
    return content.getvalue()


class Fleet:
    """Functions of all kinds in a region of a local AWS."""

    def __init__(self, endpoint, region):
        self.client = boto3.client("lambda", endpoint_url=endpoint, region_name=region)
        self.region = region

    def layer(self, name, content=b"PK\5\6" + bytes(18)):
        told = self.client.publish_layer_version(LayerName=name, Content={"ZipFile": content})
        return told["LayerVersionArn"]

    def create(self, name, arch="x86_64", runtime="python3.13", layers=(), team=None):
        self.client.create_function(
            FunctionName=name,
            Role="arn:aws:iam::000000000000:role/any",
            Runtime=runtime,
            Handler="index.handler",
            Code={"ZipFile": function_zip()},
            Architectures=[arch],
            Layers=list(layers),
            Tags={"team": team} if team else {},
        )

    def create_image(self, name):
        self.client.create_function(
            FunctionName=name,
            Role="arn:aws:iam::000000000000:role/any",
            PackageType="Image",
            Code={"ImageUri": "000000000000.dkr.ecr.eu-west-1.amazonaws.com/any:1"},
        )

    def digest(self, arn):
        """The SHA-256 of a layer version, as Lambda tells it."""
        return self.client.get_layer_version_by_arn(Arn=arn)["Content"]["CodeSha256"]

    def allowed(self, arn):
        """Who may use a layer version, beside its owner."""
        layer, _, number = arn.rpartition(":")
        told = self.client.get_layer_version_policy(LayerName=layer.rpartition(":")[2], VersionNumber=int(number))
        return sorted(str(statement["Principal"]) for statement in json.loads(told["Policy"])["Statement"])

    def layers(self, name):
        told = self.client.get_function_configuration(FunctionName=name)
        return [layer["Arn"] for layer in told.get("Layers", [])]


def check_local_aws(endpoint, scratch, zips):
    """The whole life of a fleet, in two regions."""
    here = scratch / "rollout"
    here.mkdir()
    near, far = Fleet(endpoint, "ap-south-1"), Fleet(endpoint, "sa-east-1")
    both = ("--region", near.region, "--region", far.region)
    others = {fleet: [fleet.layer(f"other-{number}") for number in range(5)] for fleet in (near, far)}
    for fleet in (near, far):
        fleet.create("orders-a", team="orders", layers=others[fleet][:2])
        fleet.create("orders-b", team="orders", arch="arm64", runtime="nodejs22.x")
        fleet.create("orders-full", team="orders", layers=others[fleet])
        fleet.create("orders-go", team="orders", runtime="go1.x")
        fleet.create("mail", team="mail")
    near.create_image("orders-image")

    # Before there is a layer.
    text = rollout(endpoint, "add", "--region", near.region, "--name", "mail", "--yes", status=1)
    has(text, "mail: there is no layer bantam-x86_64 in ap-south-1", "nothing to change")

    # Published, and not twice.
    text = rollout(endpoint, "publish", *both, "--zips", zips, "--allow", "111122223333")
    lines = [f"{fleet.region}:000000000000:layer:bantam-{arch}:1" for fleet in (near, far) for arch in ("x86_64", "arm64")]
    has(text, *lines)
    has(rollout(endpoint, "publish", *both, "--zips", zips), *(f"{line}: the same already" for line in lines))

    # Not without a yes.
    text = rollout(endpoint, "add", *both, "--tag", "team=orders", status=1)
    has(text, "no terminal to ask at", "nothing was changed", "orders-a: without -> bantam-x86_64:1, beside 2 others")
    equal("unasked", near.layers("orders-b"), [])

    text = rollout(endpoint, "add", *both, "--tag", "team=orders", "--yes", "--state", here / "add", cwd=here)
    has(
        text,
        "ap-south-1  orders-full: has 5 layers, and Lambda takes 5",
        "ap-south-1  orders-go: the runtime go1.x takes no extensions",
        "changed  sa-east-1  orders-b",
        "4 changed, 4 skipped",
        f"layer/rollout rollback {here}/add",
    )
    for fleet in (near, far):
        first = f"arn:aws:lambda:{fleet.region}:000000000000:layer:bantam"
        equal("orders-a", fleet.layers("orders-a"), [f"{first}-x86_64:1", *others[fleet][:2]])
        equal("orders-b", fleet.layers("orders-b"), [f"{first}-arm64:1"])
        equal("full", fleet.layers("orders-full"), others[fleet])
        equal("mail", fleet.layers("mail"), [])
    # The state file is not written over, and a second run has nothing to do.
    text = rollout(endpoint, "add", *both, "--tag", "team=orders", "--yes", "--state", here / "add")
    has(text, "nothing to change")
    text = rollout(endpoint, "add", *both, "--name", "mail", "--yes", "--state", here / "add", status=1)
    has(text, "is the state file of an earlier run")

    # By name and runtime; the image is named.
    text = rollout(endpoint, "add", "--region", near.region, "--name", "orders-*", "--runtime", "go*", status=0)
    has(text, "orders-go", "nothing to change")
    text = rollout(endpoint, "list", *both)
    has(
        text,
        "ap-south-1  orders-a  python3.13  x86_64  bantam-x86_64:1, beside 2 others",
        "ap-south-1  orders-image  Image  x86_64  a container image",
        "sa-east-1  mail  python3.13  x86_64  without",
    )

    # A newer version: only where the layer is, in the place where it is.
    newer = near.layer("bantam-x86_64")
    near.client.update_function_configuration(
        FunctionName="orders-a", Layers=[others[near][0], near.layers("orders-a")[0], others[near][1]]
    )
    text = rollout(endpoint, "update", *both, "--yes", "--state", here / "update")
    has(text, "orders-a: bantam-x86_64:1 -> bantam-x86_64:2, beside 2 others", "1 changed, 3 as wanted already")
    equal("updated", near.layers("orders-a"), [others[near][0], newer, others[near][1]])
    equal("not added", near.layers("mail"), [])
    # An older one by its number.
    text = rollout(endpoint, "add", "--region", near.region, "--name", "mail", "--version", "1", "--yes", cwd=here)
    has(text, "mail: without -> bantam-x86_64:1")
    text = rollout(endpoint, "add", "--region", near.region, "--name", "mail", "--version", "9", status=1)
    has(text, "there is no version 9 of layer bantam-x86_64 in ap-south-1")

    # Another changed the other layers since: they stay as they are now.
    near.client.update_function_configuration(FunctionName="orders-a", Layers=[newer, others[near][4]])
    far.client.delete_function(FunctionName="orders-b")
    has(rollout(endpoint, "rollback", here / "update", "--yes", "--state", here / "back"), "1 changed")
    older = newer.rpartition(":")[0] + ":1"
    equal("rolled back", near.layers("orders-a"), [older, others[near][4]])
    text = rollout(endpoint, "rollback", here / "add", "--yes", "--state", here / "back-2")
    has(text, "sa-east-1  orders-b: is gone", "3 changed, 1 skipped")
    equal("as before", near.layers("orders-a"), [others[near][4]])
    equal("as before", far.layers("orders-a"), others[far][:2])
    # And a rollback is a run like others.
    has(rollout(endpoint, "rollback", here / "back-2", "--yes", cwd=here), "3 changed")
    equal("again", near.layers("orders-b"), [f"arn:aws:lambda:{near.region}:000000000000:layer:bantam-arm64:1"])

    text = rollout(endpoint, "remove", *both, "--yes", "--state", here / "remove")
    has(text, "4 changed")
    equal("removed", [near.layers(name) for name in ("orders-a", "orders-b", "mail")], [[others[near][4]], [], []])
    has(rollout(endpoint, "remove", *both), "nothing to change")
    print("rollout: a fleet in two regions of a local AWS", flush=True)


def check_packaged(endpoint, scratch):
    """The layers with and without TLS, of which a function has one; and who may use a layer."""
    here, fleet = scratch / "packaged", Fleet(endpoint, "eu-north-1")
    here.mkdir()
    region = ("--region", fleet.region)
    zips = {}
    for name in ("bantam-x86_64", "bantam-aarch64", "bantam-tls-x86_64"):
        # An empty zip with the name as its comment.
        zips[name] = b"PK\5\6" + bytes(16) + len(name).to_bytes(2, "little") + name.encode()
        (here / f"{name}.zip").write_bytes(zips[name])
    base = f"arn:aws:lambda:{fleet.region}:000000000000:layer"
    stock, tls = f"{base}:bantam-x86_64:1", f"{base}:bantam-tls-x86_64:1"

    # Each layer is of its own zip. That of bantam is not taken for bantam-tls.
    rollout(endpoint, "publish", *region, "--zips", here)
    text = rollout(endpoint, "publish", *region, "--zips", here, "--layer", "bantam-tls")
    equal("of TLS", text.split(), [fleet.region, tls])
    rollout(endpoint, "publish", *region, "--zips", here, "--layer", "ours")
    for arn, name in ((stock, "bantam-x86_64"), (tls, "bantam-tls-x86_64"), (f"{base}:ours-arm64:1", "bantam-aarch64")):
        equal(arn, fleet.digest(arn), base64.b64encode(hashlib.sha256(zips[name]).digest()).decode())
    (here / "bantam-tls-x86_64.zip").unlink()
    text = rollout(endpoint, "publish", *region, "--zips", here, "--layer", "bantam-tls", status=1)
    has(text, f"no bantam-tls-ARCH.zip in {here}")

    # Who may use it can be told later, and again.
    for accounts in (["111122223333"], ["111122223333", "444455556666"]):
        allow = [part for account in accounts for part in ("--allow", account)]
        text = rollout(endpoint, "publish", *region, "--zips", here, *allow)
        has(text, f"{stock}: the same already")
        equal("allowed", [account in str(fleet.allowed(stock)) for account in accounts], [True] * len(accounts))

    # One takes the other's place, and gives it back.
    other, another = fleet.layer("other"), fleet.layer("another")
    fleet.create("mail", layers=[other, stock, another])
    text = rollout(
        endpoint, "add", *region, "--layer", "bantam-tls", "--yes", "--state", here / "add", "--name", "mail"
    )
    has(text, "mail: bantam-x86_64:1 -> bantam-tls-x86_64:1, beside 2 others")
    equal("in its place", fleet.layers("mail"), [other, tls, another])
    # Nothing but `add` puts one where the other is.
    has(rollout(endpoint, "update", *region, "--yes"), "nothing to change")
    has(rollout(endpoint, "remove", *region, "--yes"), "nothing to change")
    has(rollout(endpoint, "rollback", here / "add", "--yes", "--state", here / "back"), "1 changed")
    equal("given back", fleet.layers("mail"), [other, stock, another])
    # A list with both is left with the one that stays, and given both back.
    fleet.client.update_function_configuration(FunctionName="mail", Layers=[tls, stock, other])
    text = rollout(endpoint, "remove", *region, "--yes", "--state", here / "remove")
    has(text, "mail: bantam-tls-x86_64:1 and bantam-x86_64:1 -> bantam-tls-x86_64:1, beside 1 other")
    equal("one left", fleet.layers("mail"), [tls, other])
    has(rollout(endpoint, "rollback", here / "remove", "--yes", "--state", here / "back-2"), "1 changed")
    equal("both given back", fleet.layers("mail"), [tls, stock, other])
    print("rollout: the layers with and without TLS", flush=True)


class BadDay(http.server.ThreadingHTTPServer):
    """Lambda of one region, whose functions answer updates as they are told to."""

    daemon_threads = True

    def __init__(self, functions):
        super().__init__(("127.0.0.1", 0), Requests)
        self.lock = threading.Lock()
        self.functions = {
            name: {
                "FunctionName": name,
                "FunctionArn": f"arn:aws:lambda:eu-west-1:000000000000:function:{name}",
                "Runtime": "python3.13",
                "Architectures": ["x86_64"],
                "Layers": [],
                "LastUpdateStatus": "Successful",
                "RevisionId": str(uuid.uuid4()),
            }
            for name in functions
        }
        # Of a function, what its next updates are answered with; then as Lambda does.
        self.faults = {name: list(faults) for name, faults in functions.items()}
        self.updates = []
        # How the updates end that are on their way.
        self.ends = {}
        self.throttled_lists = 2

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Requests(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, content, error=None):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if error:
            self.send_header("X-Amzn-ErrorType", error)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, error, text):
        self.answer(status, {"Type": "User", "message": text, "Message": text}, error)

    def do_GET(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        with self.server.lock:
            if "/layers/" in path:
                arn = "arn:aws:lambda:eu-west-1:000000000000:layer:bantam-x86_64:7"
                self.answer(200, {"LayerVersions": [{"LayerVersionArn": arn, "Version": 7}]})
            elif path.endswith("/configuration"):
                function = self.server.functions[path.split("/")[-2].rpartition(":")[2]]
                self.answer(200, function)
                # An update is seen on its way once.
                if function["LastUpdateStatus"] == "InProgress":
                    function["LastUpdateStatus"] = self.server.ends.pop(function["FunctionName"])
            elif self.server.throttled_lists:
                self.server.throttled_lists -= 1
                self.refuse(429, "TooManyRequestsException", "Rate exceeded")
            else:
                self.answer(200, {"Functions": list(self.server.functions.values())})

    def do_PUT(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        name = path.split("/")[-2].rpartition(":")[2]
        with self.server.lock:
            function = self.server.functions[name]
            fault = self.server.faults[name].pop(0) if self.server.faults[name] else None
            self.server.updates.append((name, fault))
            if fault == "throttled":
                self.refuse(429, "TooManyRequestsException", "Rate exceeded")
            elif fault == "conflict":
                text = "The operation cannot be performed at this time. An update is in progress"
                self.refuse(409, "ResourceConflictException", text)
            elif fault == "unavailable":
                self.refuse(503, "ServiceException", "try again")
            elif fault == "denied":
                self.refuse(403, "AccessDeniedException", "not authorized to perform: lambda:UpdateFunctionConfiguration")
            elif fault == "raced":
                # Somebody else was faster.
                function["RevisionId"] = str(uuid.uuid4())
                function["Layers"] = [{"Arn": "arn:aws:lambda:eu-west-1:000000000000:layer:theirs:1"}]
                self.refuse(412, "PreconditionFailedException", "The RevisionId provided does not match")
            elif request["RevisionId"] != function["RevisionId"]:
                self.refuse(412, "PreconditionFailedException", "The RevisionId provided does not match")
            else:
                function["Layers"] = [{"Arn": arn} for arn in request["Layers"]]
                function["RevisionId"] = str(uuid.uuid4())
                function["LastUpdateStatus"] = "InProgress"
                self.server.ends[function["FunctionName"]] = "Failed" if fault == "breaks" else "Successful"
                function["LastUpdateStatusReason"] = "the layer could not be read" if fault == "breaks" else ""
                self.answer(200, function)


def check_bad_day(scratch):
    functions = {
        "good": [],
        "throttled": ["throttled"] * 2,
        "unavailable": ["unavailable"],
        "busy": ["conflict", "conflict"],
        "raced": ["raced"],
        "always-raced": ["raced"] * 9,
        "denied": ["denied"],
        "breaks": ["breaks"],
    }
    server = BadDay(functions)
    # An update that failed before is no reason not to try.
    server.functions["good"]["LastUpdateStatus"] = "Failed"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with server:
        try:
            state = scratch / "rollout/bad-day"
            text = rollout(server.endpoint, "add", "--region", "eu-west-1", "--yes", "--state", state, status=1)
            has(
                text,
                "FAILED   eu-west-1  denied: AccessDeniedException: not authorized",
                "FAILED   eu-west-1  breaks: the update failed: the layer could not be read",
                "FAILED   eu-west-1  always-raced: was changed by somebody else 5 times meanwhile",
                "5 changed, 3 failed",
            )
            ours = "arn:aws:lambda:eu-west-1:000000000000:layer:bantam-x86_64:7"
            theirs = "arn:aws:lambda:eu-west-1:000000000000:layer:theirs:1"
            for name in ("good", "throttled", "unavailable", "busy"):
                equal(name, server.functions[name]["Layers"], [{"Arn": ours}])
            equal("raced", server.functions["raced"]["Layers"], [{"Arn": ours}, {"Arn": theirs}])
            equal("throttled", server.updates.count(("throttled", "throttled")), 2)

            # What was cut off was not changed: the file is good without it.
            whole = state.read_text()
            state.write_text(whole + '{"region": "eu-w')
            text = rollout(
                server.endpoint, "rollback", state, "--yes", "--state", scratch / "rollout/bad-back"
            )
            for name in functions:
                layers = [layer["Arn"] for layer in server.functions[name]["Layers"]]
                equal(name, ours in layers, False)
        finally:
            server.shutdown()
            thread.join()
    text = rollout(server.endpoint, "rollback", ROOT / "layer/dashboard.json", status=1)
    has(text, "is not a state file")
    text = rollout(server.endpoint, "list", "--region", "eu west 1", status=1)
    has(text, "layer/rollout: ", "eu west 1")
    print("rollout: throttled, raced, conflicting, refused and failed updates", flush=True)


def check(endpoint, scratch, zips):
    check_local_aws(endpoint, scratch, zips)
    check_packaged(endpoint, scratch)
    check_bad_day(scratch)
