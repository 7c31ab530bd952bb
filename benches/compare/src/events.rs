//! Events of any size, and batches of telemetry.

use std::fmt::Write as _;

/// An event of exactly so many bytes for the typed functions: typical requests of an HTTP API, and
/// a short one whose path makes up the length.
pub(crate) fn typed(bytes: usize) -> Vec<u8> {
    let (open, close) = ("{\"requests\":[", "]}");
    let mut event = open.to_owned();
    let typical = request();
    // What the short request takes without its path, with the comma before it.
    let least = short("").len() + 1 + close.len();
    while event.len() + typical.len() + 1 + least <= bytes {
        event.push_str(&typical);
        event.push(',');
    }
    let left = bytes.saturating_sub(event.len() + short("").len() + close.len());
    let mut path = "/orders/2026/november/".repeat(left / 22 + 1);
    path.truncate(left);
    event.push_str(&short(&path));
    event.push_str(close);
    event.into_bytes()
}

/// An event of exactly so many bytes for the functions that send it back: a JSON string.
pub(crate) fn raw(bytes: usize) -> Vec<u8> {
    let mut event = vec![b'x'; bytes];
    for end in [0, bytes - 1] {
        if let Some(byte) = event.get_mut(end) {
            *byte = b'"';
        }
    }
    event
}

/// An event of a function URL: a `POST` with so many bytes, or a `GET`.
pub(crate) fn url(body_bytes: Option<usize>) -> Vec<u8> {
    let mut event: serde_json::Value = serde_json::json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/orders/4711",
        "rawQueryString": "expand=lines&lang=en",
        "headers": {
            "accept": "*/*",
            "content-type": "text/plain",
            "host": "id.lambda-url.us-east-1.on.aws",
            "user-agent": "curl/8.5.0",
            "x-amzn-trace-id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
            "x-forwarded-for": "198.51.100.23",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "id",
            "domainName": "id.lambda-url.us-east-1.on.aws",
            "domainPrefix": "id",
            "http": {
                "method": if body_bytes.is_some() { "POST" } else { "GET" },
                "path": "/orders/4711",
                "protocol": "HTTP/1.1",
                "sourceIp": "198.51.100.23",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "dac4a8a9-5cf5-4d3d-9be0-4f1d0a8e6b1f",
            "routeKey": "$default",
            "stage": "$default",
            "time": "21/Nov/2026:09:20:17 +0000",
            "timeEpoch": 1_795_252_817_000_u64,
        },
        "isBase64Encoded": false,
    });
    if let Some(bytes) = body_bytes {
        event["body"] = "x".repeat(bytes).into();
    }
    event.to_string().into_bytes()
}

fn short(path: &str) -> String {
    format!(r#"{{"version":"2.0","routeKey":"$default","rawPath":"{path}"}}"#)
}

/// A request as API Gateway writes it, with the fields that a browser sends.
fn request() -> String {
    let text = r#"{
"version":"2.0","routeKey":"POST /orders/{id}","rawPath":"/prod/orders/4711",
"rawQueryString":"expand=lines&lang=en",
"cookies":["session=6f1c8c1e5a0b4a0d9e0f5a3c2b1d4e7f","consent=all"],
"headers":{
"accept":"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
"accept-encoding":"gzip, deflate, br, zstd","accept-language":"en-US,en;q=0.9,de;q=0.8",
"cache-control":"max-age=0","content-length":"147","content-type":"application/json",
"host":"r3pmxmplak.execute-api.us-east-1.amazonaws.com",
"sec-ch-ua":"\"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\"","sec-ch-ua-mobile":"?0",
"sec-ch-ua-platform":"\"Linux\"","sec-fetch-dest":"document","sec-fetch-mode":"navigate",
"sec-fetch-site":"same-origin","upgrade-insecure-requests":"1",
"user-agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
"x-amzn-trace-id":"Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
"x-forwarded-for":"198.51.100.23, 203.0.113.7","x-forwarded-port":"443","x-forwarded-proto":"https"},
"queryStringParameters":{"expand":"lines","lang":"en"},
"requestContext":{"accountId":"123456789012","apiId":"r3pmxmplak",
"authorizer":{"jwt":{"claims":{"aud":"orders","exp":"1795258800","iat":"1795255200",
"iss":"https://login.example.com","scope":"orders:write","sub":"8d1f6f0e-8c5c-4d0a-a8e0-1f4f0b3a9d11"},
"scopes":["orders:write"]}},
"domainName":"r3pmxmplak.execute-api.us-east-1.amazonaws.com","domainPrefix":"r3pmxmplak",
"http":{"method":"POST","path":"/prod/orders/4711","protocol":"HTTP/1.1","sourceIp":"198.51.100.23",
"userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"},
"requestId":"JKJaXmPLvHcESHA=","routeKey":"POST /orders/{id}","stage":"prod",
"time":"21/Nov/2026:09:20:17 +0000","timeEpoch":1795252817000},
"pathParameters":{"id":"4711"},"stageVariables":{"table":"orders-prod"},
"body":"{\"customer\":\"C-1029\",\"lines\":[{\"item\":\"A-17\",\"count\":3,\"price\":19.99},{\"item\":\"B-4\",\"count\":1,\"price\":249.0}],\"note\":\"please ring twice\"}",
"isBase64Encoded":false}"#;
    text.replace('\n', "")
}

/// A batch of telemetry, of a time that no process started after: this many records of invocations
/// from the one that is counted by `from`, three each, every one with `padding` bytes that no
/// schema knows.
pub(crate) fn telemetry(records: usize, from: usize, padding: usize) -> Vec<u8> {
    let filler = if padding == 0 {
        String::new()
    } else {
        format!(r#","padding":"{}""#, "x".repeat(padding))
    };
    let mut batch = String::from("[");
    for index in 0..records {
        let number = from + index / 3;
        let id = format!("{number:08x}-e9f4-11e8-9739-2dfe598c3fcd");
        let trace = r#""tracing":{"spanId":"54565fb41ac79632","type":"X-Amzn-Trace-Id","value":"Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"}"#;
        let (kind, members) = match index % 3 {
            0 => ("start", format!(r#""version":"$LATEST",{trace}"#)),
            1 => (
                "runtimeDone",
                format!(
                    r#""status":"success",{trace},"spans":[{{"name":"responseLatency","start":"2099-11-21T09:20:17.001Z","durationMs":1.204}},{{"name":"responseDuration","start":"2099-11-21T09:20:17.002Z","durationMs":0.089}},{{"name":"runtimeOverhead","start":"2099-11-21T09:20:17.002Z","durationMs":0.331}}],"metrics":{{"durationMs":1.87,"producedBytes":412}}"#
                ),
            ),
            _ => (
                "report",
                format!(
                    r#""status":"success",{trace},"metrics":{{"durationMs":2.31,"billedDurationMs":3,"memorySizeMB":128,"maxMemoryUsedMB":14}}"#
                ),
            ),
        };
        if index != 0 {
            batch.push(',');
        }
        write!(
            batch,
            r#"{{"time":"2099-11-21T09:20:17.{:03}Z","type":"platform.{kind}","record":{{"requestId":"{id}",{members}{filler}}}}}"#,
            index % 1000
        )
        .ok();
    }
    batch.push(']');
    batch.into_bytes()
}

/// A batch as the request that the platform makes of it.
pub(crate) fn delivery(batch: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST / HTTP/1.1\r\nHost: sandbox.localdomain\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        batch.len()
    )
    .into_bytes();
    request.extend_from_slice(batch);
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warm::{Kind, SIZES};

    #[test]
    fn events_have_exactly_their_size_and_are_json() {
        for size in SIZES {
            for kind in [Kind::Raw, Kind::Typed] {
                let event = size.event(kind);
                assert_eq!(event.len(), size.bytes, "{}", size.name);
                serde_json::from_slice::<serde::de::IgnoredAny>(&event).unwrap();
            }
        }
    }

    #[test]
    fn a_batch_has_its_records_and_their_padding() {
        let batch: serde_json::Value = serde_json::from_slice(&telemetry(7, 2, 9)).unwrap();
        let batch = batch.as_array().unwrap();
        let types: Vec<&str> = batch
            .iter()
            .map(|record| record["type"].as_str().unwrap())
            .collect();
        let cycle = ["platform.start", "platform.runtimeDone", "platform.report"];
        assert_eq!(types, [&cycle[..], &cycle[..], &cycle[..1]].concat());
        for record in batch {
            assert_eq!(record["record"]["padding"], "xxxxxxxxx");
        }
    }
}
