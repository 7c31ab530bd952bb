//! The function an Invoke request names.

use percent_encoding::percent_decode_str;

/// A function and the version or alias of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionName {
    pub(crate) name: String,
    pub(crate) qualifier: Option<String>,
}

/// The function in `/2015-03-31/functions/{FunctionName}/invocations?Qualifier={Qualifier}`.
pub(crate) fn target(path: &str, query: Option<&str>) -> Option<FunctionName> {
    let name = path
        .strip_prefix("/2015-03-31/functions/")?
        .strip_suffix("/invocations")?;
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
            let got = target(&format!("/2015-03-31/functions/{name}/invocations"), query);
            let got = got
                .as_ref()
                .map(|t| (t.name.as_str(), t.qualifier.as_deref()));
            assert_eq!(got, expected, "{name} {query:?}");
        }
        assert_eq!(target("/2015-03-31/functions/f", None), None);
    }
}
