#!/bin/sh
# A handler for the stock binary: started for every event, which is its standard input.
# Its standard output is the response, its standard error goes to the log.
set -eu
event=$(cat)
echo "invocation $LAMBDA_RUNTIME_AWS_REQUEST_ID, ${#event} characters" >&2
printf '{"hello":"world","bytes":%d}' "${#event}"
