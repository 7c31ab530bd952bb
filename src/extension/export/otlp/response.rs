//! The answer of a receiver: an `ExportMetricsServiceResponse`, or an `ExportTraceServiceResponse`,
//! which has the same numbers.

use super::message::{FIXED32, FIXED64, LENGTH, VARINT};

/// The number of points or spans of a request that the receiver refused, by the body of an answer
/// with status 200; 0 when the body does not say or is malformed.
///
/// They are lost, because a request is not repeated for them.
/// <https://opentelemetry.io/docs/specs/otlp/#partial-success-1>
pub(in crate::extension) fn rejected_points(response: &[u8]) -> u64 {
    let Some(Value::Bytes(partial_success)) = find(response, PARTIAL_SUCCESS) else {
        return 0;
    };
    match find(partial_success, REJECTED_DATA_POINTS) {
        // No receiver means a negative `int64`.
        Some(Value::Number(rejected)) if i64::try_from(rejected).is_ok() => rejected,
        Some(Value::Number(_) | Value::Bytes(_)) | None => 0,
    }
}

/// The value of a field, as far as its wire type says what it is.
#[derive(Debug)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The first field of `message` with this number.
fn find(mut message: &[u8], number: u64) -> Option<Value<'_>> {
    loop {
        let tag = take_varint(&mut message)?;
        let value = match u8::try_from(tag & 7) {
            Ok(VARINT) => Value::Number(take_varint(&mut message)?),
            Ok(FIXED64) => Value::Bytes(take(&mut message, 8)?),
            Ok(LENGTH) => {
                let length = take_varint(&mut message)?;
                Value::Bytes(take(&mut message, usize::try_from(length).ok()?)?)
            }
            Ok(FIXED32) => Value::Bytes(take(&mut message, 4)?),
            Ok(_) | Err(_) => return None,
        };
        if tag >> 3 == number {
            return Some(value);
        }
    }
}

fn take<'a>(message: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(count)?;
    *message = rest;
    Some(taken)
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let byte = take(message, 1)?.first()?;
        value |= u64::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Of `ExportMetricsServiceResponse`.
const PARTIAL_SUCCESS: u64 = 1;

/// Of `ExportMetricsPartialSuccess`.
const REJECTED_DATA_POINTS: u64 = 1;

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
    };
    use prost::Message as _;

    use super::*;

    #[test]
    fn points_that_a_receiver_refused_are_counted() {
        for rejected_data_points in [0, 1, 1_000] {
            let partial_success = ExportMetricsPartialSuccess {
                rejected_data_points,
                error_message: "too old".to_owned(),
            };
            let response = ExportMetricsServiceResponse {
                partial_success: Some(partial_success),
            };
            let expected = u64::try_from(rejected_data_points).unwrap();
            assert_eq!(rejected_points(&response.encode_to_vec()), expected);
        }
        let nothing = ExportMetricsServiceResponse::default();
        assert_eq!(rejected_points(&nothing.encode_to_vec()), 0);
    }

    #[test]
    fn rejected_points_are_found_behind_other_fields() {
        let table: [(&[u8], u64); 13] = [
            (b"", 0),
            (b"\x0A\0", 0),
            (b"\x0A\x02\x08\x05", 5),
            (b"\x0A\x03\x08\xAC\x02", 300),
            (
                b"\x10\x01\x19........\x25....\x2A\x01x\x0A\x05\x12\x01e\x08\x07",
                7,
            ),
            (b"\x0A\x03\x08\xAC", 0),
            (b"\x0A\x7F\x08\x05", 0),
            (b"\x08\x05", 0),
            (b"\x0A\x03\x0A\x01x", 0),
            (b"\x0B\x08\x05", 0),
            (b"\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", 0),
            (b"\x0A\x0B\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 0),
            (&[0xFF; 64], 0),
        ];
        for (response, expected) in table {
            assert_eq!(rejected_points(response), expected, "{response:?}");
        }
    }
}
