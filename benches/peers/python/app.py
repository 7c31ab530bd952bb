"""The typed function in Python: it looks into each request, as benches/functions/src/lib.rs does."""

MAPS = ["headers", "queryStringParameters", "pathParameters", "stageVariables"]
TEXTS = ["version", "routeKey", "rawPath", "rawQueryString"]
CONTEXT = ["accountId", "apiId", "domainName", "requestId", "stage", "time"]
HTTP = ["method", "path", "protocol", "sourceIp", "userAgent"]


def fields(request):
    context = request.get("requestContext", {})
    http = context.get("http", {})
    texts = [request.get(name) for name in TEXTS]
    texts += [context.get(name) for name in CONTEXT] + [http.get(name) for name in HTTP]
    return (
        sum(len(request.get(name, {})) for name in MAPS)
        + sum(1 for text in texts if text)
        + len(request.get("cookies", []))
        + int(context.get("timeEpoch", 0) != 0)
        + int(request.get("isBase64Encoded", False))
        + len(request.get("body") or "")
    )


def handler(event, _context):
    requests = event["requests"]
    return {
        "statusCode": 200,
        "headers": {"content-type": "text/plain"},
        "body": f"{len(requests)} requests, {sum(map(fields, requests))}",
    }
