#!/bin/sh
# Server-sent events from a shell script, for a function URL with the invoke mode RESPONSE_STREAM.
# With BANTAM_INVOKE_MODE=response_stream the stock binary sends what it writes as it is written.
set -eu
# Status and headers, and the eight NULs that end them.
printf '{"statusCode":200,"headers":{"Content-Type":"text/event-stream"}}\0\0\0\0\0\0\0\0'
for number in 1 2 3; do
    printf 'data: %d\n\n' "$number"
    sleep 0.1
done
