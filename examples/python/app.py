"""A function in Python: how many records each source has put into the event."""

from collections import Counter


def handler(event, context):
    sources = Counter(record.get("eventSource", "unknown") for record in event["Records"])
    print(f"request {context.aws_request_id}: {sources.total()} records")
    return dict(sources)
