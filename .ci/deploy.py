"""Deploys what .ci/deploy has built to a local AWS (ministack), invokes it and reads it back; and runs
the layer under AWS's Runtime Interface Emulator, since ministack starts no extensions.

Every deployment is made with the tool's own command, as its users make it.
"""

import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import local_aws
import rollout

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = Path(os.environ["SCRATCH"])
ZIPS = Path(os.environ["ZIPS"])
TOOLS = Path(sys.executable).parent

STOCK = (ZIPS / "x86_64/bantam").read_bytes()
DASHBOARD = (ROOT / "layer/dashboard.json").read_text()

# Seconds that a command may take.
COMMAND_S = 180

# File types and permissions as zips have them.
FILE_755 = 0o100755
LINK_755 = 0o120755

# The machine that an ELF file says it is for.
MACHINES = {"x86_64": 62, "aarch64": 183}

# Bytes of a zip. It is downloaded and unzipped in the start of an environment.
ZIP_BYTES_MAX = {"bantam": 269_000, "script": 269_000, "apigw": 130_000}

# A route's own: names are global in a region.
REGIONS = {"sam": "eu-central-1", "cdk": "eu-west-1", "terraform": "us-east-1"}


def say(text):
    print(f"deploy: {text}", flush=True)


def run(*command, cwd=ROOT, **variables):
    """Runs a command with more variables; its standard output, or an end with all it wrote."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | {"HOME": str(SCRATCH / "home")} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    if done.returncode != 0:
        shown = " ".join(str(part) for part in command)
        sys.exit(f"{shown}\n{done.stdout}\n{done.stderr}\nended with {done.returncode}")
    return done.stdout


def equal(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r}\nexpected: {expected!r}")


def members(content):
    """Of a zip, each entry's mode and bytes."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # From elsewhere than Unix, the upper half of the attributes would be no mode.
        equal("not from Unix", [name for name in archive.infolist() if name.create_system != 3], [])
        return {
            info.filename: (info.external_attr >> 16, archive.read(info)) for info in archive.infolist()
        }


class Aws:
    """The command `aws` in a region of the local AWS."""

    def __init__(self, endpoint, region):
        self.variables = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
        }
        self.region = region

    def __call__(self, *arguments):
        shown = run("aws", *arguments, "--output", "json", **self.variables)
        return json.loads(shown) if shown.strip() else None

    def invoke(self, function, event):
        answer = SCRATCH / "answer.json"
        command = ("lambda", "invoke", "--function-name", function, "--payload", f"file://{event}")
        told = self(*command, answer)
        equal(f"{function}: status", told["StatusCode"], 200)
        equal(f"{function}: error", told.get("FunctionError"), None)
        return json.loads(answer.read_text())

    def layer(self, arn):
        told = self("lambda", "get-layer-version-by-arn", "--arn", arn)
        with urllib.request.urlopen(told["Content"]["Location"], timeout=30) as response:
            return response.read()

    def stack(self, name):
        told = self("cloudformation", "describe-stacks", "--stack-name", name)
        outputs = told["Stacks"][0]["Outputs"]
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def check_zips():
    for arch in MACHINES:
        stock = (ZIPS / arch / "bantam").read_bytes()
        machine = int.from_bytes(stock[18:20], "little")
        equal(f"machine of {arch}", machine, MACHINES[arch])
        zips = {
            "bantam": {
                "bootstrap": (LINK_755, b"extensions/bantam"),
                "extensions/bantam": (FILE_755, stock),
            },
            "script": {
                "bootstrap": (FILE_755, stock),
                "hello.sh": (FILE_755, (ROOT / "examples/hello.sh").read_bytes()),
            },
        }
        for path in (ZIPS / arch / "hello", ZIPS / arch / "examples/apigw"):
            if path.is_file():
                zips[path.name] = {"bootstrap": (FILE_755, path.read_bytes())}
        for name, expected in zips.items():
            path = ZIPS / f"{name}-{arch}.zip"
            equal(path.name, members(path.read_bytes()), expected)
    say("zips of both architectures, the same bytes twice")
    for name, limit in ZIP_BYTES_MAX.items():
        size = (ZIPS / f"{name}-x86_64.zip").stat().st_size
        say(f"{name}-x86_64.zip: {size} bytes, at most {limit}")
        if size > limit:
            sys.exit(f"{name}-x86_64.zip is too large")


def check_images():
    """No image is built here; at least, everything that goes into one is where the file says."""
    copies = [line for line in (ROOT / "layer/image/Dockerfile").read_text().splitlines() if line.startswith("COPY ")]
    sources = [re.sub(r"^target/layer/\$\{ARCH\}", f"{ZIPS}/x86_64", line.split()[-2]) for line in copies]
    equal("missing for images", [source for source in sources if not (ROOT / source).is_file()], [])
    equal("files of images", len(sources), 6)


def check_layer(endpoint):
    aws = Aws(endpoint, "eu-north-1")
    path = ZIPS / "bantam-x86_64.zip"
    arguments = ("--layer-name", "bantam", "--compatible-architectures", "x86_64")
    told = aws("lambda", "publish-layer-version", *arguments, "--zip-file", f"fileb://{path}")
    equal("the layer that was published", aws.layer(told["LayerVersionArn"]), path.read_bytes())
    say("layer published and read back, the same bytes")


def check_functions(aws, typed, measured, both):
    """What all three routes deploy."""
    answer = aws.invoke(typed, ROOT / "examples/events/apigw.json")
    equal(f"{typed}: status", answer["statusCode"], 200)
    greeting = "hello ada, this is /orders/ada, request "
    equal(f"{typed}: body", answer["body"][: len(greeting)], greeting)
    event = SCRATCH / "event.json"
    event.write_text("{}")
    equal(measured, aws.invoke(measured, event), {"hello": "world"})
    equal(both, aws.invoke(both, event), {"hello": "world", "bytes": 2})

    layers = {}
    for function in (typed, measured, both):
        told = aws("lambda", "get-function-configuration", "--function-name", function)
        equal(f"{function}: log format", told["LoggingConfig"]["LogFormat"], "JSON")
        equal(f"{function}: architecture", told["Architectures"], ["x86_64"])
        layers[function] = [layer["Arn"] for layer in told.get("Layers", [])]
        check_role(aws, told["Role"].rpartition("/")[2], told["LoggingConfig"]["LogGroup"])
    equal(f"{typed}: layers", layers[typed], [])
    equal(f"{both}: layers", layers[both], layers[measured])
    return layers[both][0]


def check_role(aws, role, group):
    """It may write to its log group, and nothing else."""
    attached = aws("iam", "list-attached-role-policies", "--role-name", role)
    equal(f"{role}: managed policies", attached["AttachedPolicies"], [])
    statements = []
    for policy in aws("iam", "list-role-policies", "--role-name", role)["PolicyNames"]:
        told = aws("iam", "get-role-policy", "--role-name", role, "--policy-name", policy)
        statements += told["PolicyDocument"]["Statement"]
    arn = f"arn:aws:logs:{aws.region}:000000000000:log-group:{group}:*"
    actions = ["logs:CreateLogStream", "logs:PutLogEvents"]
    expected = [{"Effect": "Allow", "Action": actions, "Resource": arn}]
    equal(f"{role}: statements", statements, expected)


def check_fleet(aws, layers, alarms):
    """What a fleet needs: the layer for each architecture, the dashboard, and alarms."""
    for arch, architecture in (("x86_64", "x86_64"), ("aarch64", "arm64")):
        arn = layers[architecture]
        equal("name of a layer", arn.split(":")[6], f"bantam-{architecture}")
        told = aws("lambda", "get-layer-version-by-arn", "--arn", arn)
        equal(f"architecture of {arn}", told["CompatibleArchitectures"], [architecture])
        equal(arn, aws.layer(arn), (ZIPS / f"bantam-{arch}.zip").read_bytes())
    told = aws("cloudwatch", "get-dashboard", "--dashboard-name", "bantam")
    expected = json.loads(DASHBOARD.replace("${AWS::Region}", aws.region).replace("${!", "${"))
    equal(f"dashboard in {aws.region}", json.loads(told["DashboardBody"]), expected)
    told = {alarm["AlarmName"]: alarm for alarm in aws("cloudwatch", "describe-alarms")["MetricAlarms"]}
    equal("alarms", sorted(told), sorted(alarms))
    alarm = told["bantam-init-failures"]
    found = [alarm[key] for key in ("Namespace", "MetricName", "Dimensions", "Threshold", "Statistic")]
    equal("alarm", found, ["Bantam", "init_failures", [], 1.0, "Sum"])


def sam(endpoint):
    aws = Aws(endpoint, REGIONS["sam"])
    config = ROOT / "layer/sam/samconfig.toml"
    template = SCRATCH / "sam/template.yaml"
    run("sam", "deploy", "--config-file", config, "--template-file", template, **aws.variables)
    names = aws.stack("bantam")
    layer = check_functions(aws, names["TypedName"], names["MeasuredName"], names["BothName"])
    # SAM zips what a link leads to.
    expected = {name: (FILE_755, STOCK) for name in ("bootstrap", "extensions/bantam")}
    equal("layer of sam", members(aws.layer(layer)), expected)
    # ministack's CloudFormation has no alarms on expressions.
    command = ("sam", "deploy", "--stack-name", "bantam-fleet", "--resolve-s3")
    template = SCRATCH / "layer/sam/fleet.yaml"
    parameters = ("--parameter-overrides", "AlarmInitFailures=1")
    run(*command, "--template-file", template, *parameters, cwd=SCRATCH, **aws.variables)
    outputs = aws.stack("bantam-fleet")
    layers = {"x86_64": outputs["LayerX86Arn"], "arm64": outputs["LayerArmArn"]}
    check_fleet(aws, layers, ["bantam-init-failures"])
    say("sam deploy: three functions invoked, and what a fleet needs")


def cdk(endpoint):
    aws = Aws(endpoint, REGIONS["cdk"])
    here = SCRATCH / "layer/cdk"
    command = ("npx", "--no-install", "cdk")
    options = ("--app", SCRATCH / "cdk", "--no-notices")
    environment = f"aws://000000000000/{aws.region}"
    run(*command, "bootstrap", environment, *options, cwd=here, **aws.variables)
    options = (*options, "--require-approval", "never")
    run(*command, "deploy", *options, cwd=here, **aws.variables)
    names = aws.stack("bantam")
    layer = check_functions(aws, names["TypedName"], names["MeasuredName"], names["BothName"])
    layers = {"x86_64": names["LayerArnx8664"], "arm64": names["LayerArnarm64"]}
    equal("layer of cdk", layer, layers["x86_64"])
    check_fleet(aws, layers, ["bantam-init-failures"])
    say("cdk deploy: three functions invoked, and what a fleet needs")


def terraform(endpoint):
    here = SCRATCH / "layer/terraform/example"
    if not (here / ".terraform").is_dir():
        return
    aws = Aws(endpoint, REGIONS["terraform"])
    options = ["-input=false", "-no-color", f"-var=region={aws.region}", f"-var=zips={ZIPS}"]
    run("terraform", "apply", "-auto-approve", *options, cwd=here, **aws.variables)
    # Status 2 if it would change anything.
    run("terraform", "plan", "-detailed-exitcode", *options, cwd=here, **aws.variables)
    # With alarms it would always: ministack describes them to the provider in part.
    options += ["-var=alarm_init_failures=1", "-var=alarm_cold_start_share=5"]
    run("terraform", "apply", "-auto-approve", *options, cwd=here, **aws.variables)
    outputs = json.loads(run("terraform", "output", "-json", cwd=here))
    layer = check_functions(aws, **outputs["functions"]["value"])
    layers = outputs["layer_arns"]["value"]
    equal("layer of terraform", layer, layers["x86_64"])
    check_fleet(aws, layers, ["bantam-cold-start-share", "bantam-init-failures"])
    say("terraform apply: three functions invoked, what a fleet needs, and no changes after it")


def cargo_lambda(endpoint):
    aws = Aws(endpoint, "eu-west-2")
    options = ("--endpoint-url", endpoint, "--role", "arn:aws:iam::000000000000:role/hello")
    binary = ZIPS / "x86_64/hello"
    variables = aws.variables | {"HOME": os.environ["HOME"]}
    run("cargo-lambda", "lambda", "deploy", "--binary-path", binary, *options, "hello", **variables)
    event = SCRATCH / "event.json"
    event.write_text('{"name":"cargo-lambda"}')
    equal("hello", aws.invoke("hello", event), {"message": "hello cargo-lambda"})
    told = aws("lambda", "get-function-configuration", "--function-name", "hello")
    equal("runtime of hello", told["Runtime"], "provided.al2023")
    say("cargo lambda deploy: a function invoked")


def deploy():
    with local_aws.ministack(SCRATCH) as endpoint:
        check_layer(endpoint)
        for route in (sam, cdk, terraform, cargo_lambda):
            route(endpoint)
        rollout.check(endpoint, SCRATCH, ZIPS)


def check_rie():
    """The layer as it is unzipped: the platform finds the runtime in it, behind the link, and starts
    the extension."""
    opt, var = SCRATCH / "rie/opt", SCRATCH / "rie/var"
    unzip(ZIPS / "bantam-x86_64.zip", opt)
    task = var / "task"
    task.mkdir(parents=True)
    shutil.copy(ROOT / "examples/hello.sh", task)
    rie = SCRATCH / "rie/aws-lambda-rie"
    shutil.copy(next(TOOLS.parent.glob("lib/*/site-packages/samcli/local/rapid/*-x86_64")), rie)
    rie.chmod(0o755)

    invoke, api = local_aws.free_port(), local_aws.free_port()
    # RIE looks for a runtime and for extensions at fixed places.
    command = [
        *(ROOT / "testkit/with-folders", opt, "/opt", var, "/var", "--"),
        *("env", "--chdir=/var/task", rie),
        *("--log-level", "info", "--runtime-interface-emulator-address", f"127.0.0.1:{invoke}"),
        *("--runtime-api-address", f"127.0.0.1:{api}"),
    ]
    environment = {
        "PATH": "/usr/bin:/bin",
        "LAMBDA_TASK_ROOT": "/var/task",
        "AWS_LAMBDA_FUNCTION_NAME": "hello",
        "_HANDLER": "hello.sh",
    }
    log = SCRATCH / "rie.log"
    with local_aws.server(command, invoke, log, env=environment) as process:
        connection = http.client.HTTPConnection("127.0.0.1", invoke, timeout=30)
        connection.request("POST", "/2015-03-31/functions/function/invocations", b"{}")
        answer = connection.getresponse().read()
        # Its end is the end of the environment: the extension writes the rest of its figures.
        process.terminate()
        process.wait(10)
    text = log.read_text()
    try:
        equal("hello.sh with the layer", answer, b'{"hello":"world","bytes":2}')
        if "External agent bantam" not in text:
            sys.exit("the extension did not register")
        lines = [line for line in text.splitlines() if line.startswith('{"_aws"')]
        metrics = {name for line in lines for name in declared(json.loads(line))}
        if "cold_starts" not in metrics:
            sys.exit(f"exported: {sorted(metrics)}")
    except SystemExit:
        print(text)
        raise
    say("layer under RIE: runtime and extension started")


def declared(line):
    """The metrics that a line of EMF declares."""
    for directive in line["_aws"]["CloudWatchMetrics"]:
        yield from (metric["Name"] for metric in directive["Metrics"])


def unzip(path, folder):
    for name, (mode, content) in members(path.read_bytes()).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if mode == LINK_755:
            target.symlink_to(content.decode())
        else:
            target.write_bytes(content)
            target.chmod(mode & 0o777)


if __name__ == "__main__":
    # Ended from outside, it still ends its servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    check_zips()
    check_images()
    check_rie()
    deploy()
