//! Members of a record, read so that an unexpected value costs the member and not the record.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A string, borrowed unless it has escapes; any other value is `None`.
#[derive(Default)]
pub(super) struct Text<'a>(pub(super) Option<Cow<'a, str>>);

/// Reads a [`Text`].
pub(super) fn text<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    let Text(text) = Text::deserialize(json)?;
    Ok(text)
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(TextVisitor)
    }
}

/// Reads a duration in milliseconds.
pub(super) fn milliseconds<'de, D: Deserializer<'de>>(json: D) -> Result<Option<f64>, D::Error> {
    number(json, MILLISECONDS_MAX)
}

/// Reads a size of memory in megabytes.
pub(super) fn megabytes<'de, D: Deserializer<'de>>(json: D) -> Result<Option<f64>, D::Error> {
    number(json, MEGABYTES_MAX)
}

/// Reads a number of bytes or of things.
pub(super) fn count<'de, D: Deserializer<'de>>(json: D) -> Result<Option<f64>, D::Error> {
    number(json, COUNT_MAX)
}

/// Reads a number from 0 to `max`, whole or not, in quotes or not. Any other value is `None`, so
/// that every sum of such numbers stays a number.
fn number<'de, D: Deserializer<'de>>(json: D, max: f64) -> Result<Option<f64>, D::Error> {
    let value = <&RawValue>::deserialize(json)?.get();
    // By its type and not through a visitor of any value: to that, a number is a map when some
    // crate of the program turned on serde_json's `arbitrary_precision`.
    let digits = unquoted(value).unwrap_or(value);
    let number = serde_json::from_str::<f64>(digits).ok();
    Ok(number.filter(|number| (0.0..=max).contains(number)))
}

fn unquoted(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

/// Reads an object as `T`; any other value is the default of `T`.
pub(super) fn object<'de, D, T>(json: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let object = Object(PhantomData).deserialize(json)?;
    Ok(object.unwrap_or_default())
}

/// Reads an array, and gives each of its objects as `T` to `each`. Anything else is skipped.
pub(super) fn objects<'de, D, T>(json: D, each: &mut dyn FnMut(T)) -> Result<(), D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    json.deserialize_any(Objects(each))
}

/// Reads an object as `T`, and any other value as `None`.
struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Object<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<T>, D::Error> {
        json.deserialize_any(self)
    }
}

/// Gives the objects of an array to a function, and skips any other value.
struct Objects<'f, T>(&'f mut dyn FnMut(T));

/// The values that are skipped, whatever the visitor is for.
macro_rules! skip_scalars {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    skip_scalars!();

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Some(Cow::Owned(text.to_owned()))))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text<'de>, A::Error> {
        IgnoredAny.visit_map(map)?;
        Ok(Text::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Text<'de>, A::Error> {
        IgnoredAny.visit_seq(array)?;
        Ok(Text::default())
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = Option<T>;

    skip_scalars!();

    fn visit_str<E>(self, _: &str) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Option<T>, A::Error> {
        IgnoredAny.visit_seq(array)?;
        Ok(None)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Objects<'_, T> {
    type Value = ();

    skip_scalars!();

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        IgnoredAny.visit_map(map)?;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(element) = array.next_element_seed(Object(PhantomData))? {
            if let Some(object) = element {
                (self.0)(object);
            }
        }
        Ok(())
    }
}

/// 115 days. An environment of Managed Instances, the longest-lived, has 14.
const MILLISECONDS_MAX: f64 = 1e10;

/// 16 TiB. The largest function has 10 GiB, the largest instance some TiB.
const MEGABYTES_MAX: f64 = 16_777_216.0;

/// 2^53, up to which a double has every whole number.
pub(super) const COUNT_MAX: f64 = 9_007_199_254_740_992.0;
