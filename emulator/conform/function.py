"""A function that the conformance run asks, for awslambdaric."""

import json
import os
import sys
import time

if os.environ.get("CONFORM_INIT") == "fail":
    raise RuntimeError("asked to fail")

ACTIONS = ["context", "crash", "echo", "fail", "init", "large", "sleep"]


def handler(event, context):
    asked = event.get("conform")
    if asked == "actions":
        return ACTIONS
    if asked == "context":
        client = context.client_context
        return {
            "requestId": context.aws_request_id,
            "functionArn": context.invoked_function_arn,
            "remainingMs": context.get_remaining_time_in_millis(),
            "clientContext": client and {"custom": client.custom},
            "tenantId": context.tenant_id,
            "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        }
    if asked == "fail":
        raise RuntimeError("asked to fail")
    if asked == "large":
        return "x" * event["bytes"]
    if asked == "sleep":
        time.sleep(event["ms"] / 1000)
    if asked == "crash":
        sys.stdout.flush()
        os._exit(1)
    return event
