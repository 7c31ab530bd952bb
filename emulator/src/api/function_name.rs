//! The function an Invoke request names.

use percent_encoding::percent_decode_str;

/// A function and the version or alias of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionName {
    pub(crate) name: String,
    pub(crate) qualifier: Option<String>,
}

/// An operation on a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `/2015-03-31/functions/{FunctionName}/invocations`
    Invoke,
    /// `/2021-11-15/functions/{FunctionName}/response-streaming-invocations`
    InvokeWithResponseStream,
}

impl Operation {
    /// The operation of a path, and the name in it.
    pub(crate) fn of(path: &str) -> Option<(Self, &str)> {
        [
            (Self::Invoke, "/2015-03-31", "/invocations"),
            (
                Self::InvokeWithResponseStream,
                "/2021-11-15",
                "/response-streaming-invocations",
            ),
        ]
        .into_iter()
        .find_map(|(operation, version, end)| {
            let path = path.strip_prefix(version)?.strip_prefix("/functions/")?;
            Some((operation, path.strip_suffix(end)?))
        })
    }
}

/// The function that a name in a path and `?Qualifier={Qualifier}` mean.
pub(crate) fn target(name: &str, query: Option<&str>) -> Option<FunctionName> {
    let mut target = parse(&percent_decode_str(name).decode_utf8().ok()?)?;
    let asked = query.unwrap_or_default().split('&').find_map(|pair| {
        let value = pair.strip_prefix("Qualifier=")?;
        percent_decode_str(value).decode_utf8().ok()
    });
    if let Some(asked) = asked {
        target.qualifier = Some(asked.into_owned());
    }
    Some(target)
}

/// A name, a partial ARN or an ARN, each with or without a qualifier.
fn parse(text: &str) -> Option<FunctionName> {
    let mut parts = text.split(':').collect::<Vec<_>>();
    if let Some(at) = parts.iter().position(|part| *part == "function")
        && matches!((at, parts.len()), (1, 3..) | (5, _))
    {
        parts.drain(..=at);
    }
    let (name, qualifier) = match parts.as_slice() {
        [name] => (name, None),
        [name, qualifier] => (name, Some((*qualifier).to_owned())),
        _ => return None,
    };
    Some(FunctionName {
        name: (*name).to_owned(),
        qualifier,
    })
    .filter(|target| !target.name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_name_is_read() {
        let table = [
            ("f", None, Some(("f", None))),
            ("f:live", None, Some(("f", Some("live")))),
            ("f%3Alive", None, Some(("f", Some("live")))),
            (
                "f",
                Some("Qualifier=%24LATEST"),
                Some(("f", Some("$LATEST"))),
            ),
            ("123456789012:function:f", None, Some(("f", None))),
            (
                "arn:aws:lambda:us-east-1:123456789012:function:f",
                None,
                Some(("f", None)),
            ),
            (
                "arn:aws:lambda:us-east-1:123456789012:function:f:7",
                None,
                Some(("f", Some("7"))),
            ),
            ("function", None, Some(("function", None))),
            (
                "function:function",
                None,
                Some(("function", Some("function"))),
            ),
            ("a:b:c", None, None),
            ("", None, None),
        ];
        for (name, query, expected) in table {
            let got = target(name, query);
            let got = got
                .as_ref()
                .map(|t| (t.name.as_str(), t.qualifier.as_deref()));
            assert_eq!(got, expected, "{name} {query:?}");
        }
    }

    #[test]
    fn a_path_names_an_operation_and_a_function() {
        let table = [
            (
                "/2015-03-31/functions/f/invocations",
                Some((Operation::Invoke, "f")),
            ),
            (
                "/2021-11-15/functions/f%3Alive/response-streaming-invocations",
                Some((Operation::InvokeWithResponseStream, "f%3Alive")),
            ),
            ("/2015-03-31/functions/f", None),
            ("/2021-11-15/functions/f/invocations", None),
            (
                "/2015-03-31/functions/f/response-streaming-invocations",
                None,
            ),
        ];
        for (path, expected) in table {
            assert_eq!(Operation::of(path), expected, "{path}");
        }
    }
}
