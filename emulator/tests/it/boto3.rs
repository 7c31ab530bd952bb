//! An AWS SDK that nobody here wrote.

use std::process::Command;

use bantam_emulator::Emulator;

use crate::support::echo;

/// Invokes with the AWS SDK for Python and checks what it makes of the answers.
#[test]
#[ignore = "needs a Python with boto3: EMULATOR_PYTHON=/path/to/python"]
fn boto3_understands_every_answer() {
    let python = std::env::var("EMULATOR_PYTHON").expect("EMULATOR_PYTHON is not set");
    let emulator = Emulator::start(echo()).unwrap();
    let output = Command::new(python)
        .args(["-c", SCRIPT, &format!("http://{}", emulator.invoke_addr())])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

const SCRIPT: &str = r#"
import base64, json, sys
import boto3
from botocore.config import Config

client = boto3.client(
    "lambda", endpoint_url=sys.argv[1], region_name="us-east-1",
    aws_access_key_id="x", aws_secret_access_key="x",
    config=Config(retries={"max_attempts": 0}, proxies={}))

answer = client.invoke(FunctionName="function", Payload=b'{"a": 1}', LogType="Tail",
                       ClientContext=base64.b64encode(b'{"custom": {}}').decode())
assert answer["StatusCode"] == 200, answer
assert json.load(answer["Payload"]) == {"a": 1}
assert answer["ExecutedVersion"] == "$LATEST"
assert "FunctionError" not in answer
assert "START RequestId" in base64.b64decode(answer["LogResult"]).decode()

answer = client.invoke(FunctionName="function:live", Payload=b'{"do": "error"}')
assert answer["FunctionError"] == "Unhandled", answer
assert json.load(answer["Payload"])["errorType"] == "Function.Asked"

arn = "arn:aws:lambda:us-east-1:123456789012:function:function"
assert client.invoke(FunctionName=arn)["StatusCode"] == 200
assert client.invoke(FunctionName="function", InvocationType="Event")["StatusCode"] == 202
assert client.invoke(FunctionName="function", InvocationType="DryRun")["StatusCode"] == 204

def raises(exception, **request):
    try:
        client.invoke(**request)
    except exception as error:
        assert error.response["Error"]["Message"], error
        return
    raise SystemExit(f"no {exception}")

raises(client.exceptions.ResourceNotFoundException, FunctionName="other")
raises(client.exceptions.InvalidRequestContentException, FunctionName="function", Payload=b"{")
raises(client.exceptions.RequestTooLargeException, FunctionName="function",
       Payload=b"1" * 6291557)

def streamed(event, **request):
    answer = client.invoke_with_response_stream(FunctionName="function", Payload=event, **request)
    assert answer["StatusCode"] == 200, answer
    assert answer["ExecutedVersion"] == "$LATEST"
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    *parts, last = answer["EventStream"]
    return b"".join(part["PayloadChunk"]["Payload"] for part in parts), last["InvokeComplete"]

payload, complete = streamed(b'{"do": "stream"}', LogType="Tail")
assert json.loads(payload) == "one two", payload
assert "ErrorCode" not in complete
assert "START RequestId" in base64.b64decode(complete["LogResult"]).decode()

payload, complete = streamed(b'{"do": "stream_error"}')
assert payload == b'"one two"', payload
assert complete["ErrorCode"] == "Unhandled"
assert json.loads(complete["ErrorDetails"])["errorType"] == "Function.Midway"

# The runtime streams no response to this one, and fails before the first byte of the next.
assert streamed(b'{"a": 1}') == (b'{"a": 1}', {})
payload, complete = streamed(b'{"do": "error"}')
assert (payload, complete["ErrorCode"]) == (b"", "Unhandled")

# A streamed response to an invocation that takes it whole.
answer = client.invoke(FunctionName="function", Payload=b'{"do": "stream"}')
assert json.load(answer["Payload"]) == "one two"

try:
    client.invoke_with_response_stream(FunctionName="other")
    raise SystemExit("another function was invoked")
except client.exceptions.ResourceNotFoundException:
    pass
"#;
