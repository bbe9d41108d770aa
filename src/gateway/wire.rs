//! What requests are made of. Checked here is only what has a form: whether it means anything, the procedures say.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDateTime, SubsecRound, Timelike, Utc};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use utoipa::openapi::schema::{KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::problem::{Problem, Transport};

/// The largest amount: the last whole number that every client can read.
pub const AMOUNT_AT_MOST: i64 = 9_007_199_254_740_991;

/// Reads a body. Unknown fields, and values of another type, are errors that name their path.
///
/// # Errors
/// `MALFORMED_JSON` when it is not JSON, `VALIDATION_FAILED` when it is, but not a `T`.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let Object(value) = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        refuse(&path, error.inner())
    })?;
    deserializer.end().map_err(|error| refuse(".", &error))?;
    Ok(value)
}

/// Reads a part of a body that is JSON already, as [`decode`].
///
/// # Errors
/// `VALIDATION_FAILED` when it is not a `T`.
pub fn read<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| refuse(&error.path().to_string(), error.inner()))
}

fn refuse(path: &str, error: &serde_json::Error) -> Problem {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    match error.classify() {
        Category::Data => {
            let text = text.strip_suffix(&place).unwrap_or(&text);
            Problem::field(if path == "." { "body" } else { path }, text)
        }
        Category::Syntax | Category::Eof | Category::Io => {
            Problem::transport(Transport::MalformedJson, &text).with_field("body", &text)
        }
    }
}

/// `value`, or the error that `field` is missing.
///
/// # Errors
/// `VALIDATION_FAILED`.
pub fn required<T>(field: &str, value: Option<T>) -> Result<T, Problem> {
    value.ok_or_else(|| Problem::field(field, "is required"))
}

/// A JSON object. By itself, serde also takes an array of the fields' values for a struct.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// A text of up to `MAX` characters, as many as its procedure's parameter can hold.
#[derive(Debug, Clone)]
pub struct Text<const MAX: usize>(pub String);

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        bounded(&text, MAX).map_err(de::Error::custom)?;
        Ok(Text(text))
    }
}

impl<const MAX: usize> PartialSchema for Text<MAX> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .max_length(Some(MAX))
            .into()
    }
}

impl<const MAX: usize> ToSchema for Text<MAX> {
    fn name() -> Cow<'static, str> {
        format!("Text{MAX}").into()
    }
}

/// The text in an optional field.
pub fn text<const MAX: usize>(field: &Option<Text<MAX>>) -> Option<&str> {
    field.as_ref().map(|text| text.0.as_str())
}

/// A number that is written in digits alone: Rust's own parser would take a leading `+`.
pub fn digits<T: FromStr>(text: &str) -> Option<T> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// Whether `text` has at most `max` characters.
///
/// # Errors
/// A sentence that says it has more.
pub fn bounded(text: &str, max: usize) -> Result<(), String> {
    if text.chars().count() > max {
        return Err(format!("must be at most {max} characters"));
    }
    Ok(())
}

/// A whole number, such as an amount. Its bounds are the procedures'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole(pub i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_i64<E>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(number))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole, E> {
                i64::try_from(number).map(Whole).map_err(|_| E::custom("is too large"))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// An instant in RFC 3339, kept as UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant(pub NaiveDateTime);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Instant::parse(&text).map_err(de::Error::custom)
    }
}

impl Instant {
    /// Reads an instant from RFC 3339.
    ///
    /// # Errors
    /// A sentence that says what it must be.
    pub fn parse(text: &str) -> Result<Instant, &'static str> {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|instant| instant.with_timezone(&Utc).naive_utc().trunc_subsecs(3))
            // DATETIME ends with the year 9999, and knows no second 60, which chrono keeps as a long second 59.
            .filter(|instant| (1970..=9999).contains(&instant.year()) && instant.nanosecond() < 1_000_000_000)
            .map(Instant)
            .ok_or("must be an instant such as 2026-03-01T00:00:00.000Z, from 1970 to 9999")
    }
}

impl PartialSchema for Instant {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .pattern(Some("^(19[7-9][0-9]|[2-9][0-9]{3})-"))
            .into()
    }
}

impl ToSchema for Instant {
    fn name() -> Cow<'static, str> {
        "GivenInstant".into()
    }
}

/// A JSON object that the engine keeps and never reads. The procedure bounds its size; this keeps what MySQL cannot even
/// parse (100 levels, keys of 64 KiB) away from it.
#[derive(Debug, Clone)]
pub struct Metadata(pub serde_json::Value);

/// Deepest nesting of [`Metadata`]. Nobody needs more, and MySQL takes 100 for the whole call.
const METADATA_DEPTH: usize = 32;

/// Bytes of [`Metadata`] as text. No text this long fits the procedure's 2,048 bytes in MySQL's own form, where a byte
/// takes six characters (`\u0000`) at most.
const METADATA_BYTES: usize = 16_384;

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        if !value.is_object() || value.to_string().len() > METADATA_BYTES {
            return Err(de::Error::custom("must be an object of up to 2048 bytes"));
        }
        if depth(&value) > METADATA_DEPTH {
            return Err(de::Error::custom(format!(
                "must be nested at most {METADATA_DEPTH} deep"
            )));
        }
        Ok(Metadata(value))
    }
}

impl PartialSchema for Metadata {
    fn schema() -> RefOr<Schema> {
        let description = "Up to 2048 bytes, and at most 32 deep";
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(description))
            .into()
    }
}

impl ToSchema for Metadata {}

fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A JSON object whose fields a procedure reads. This keeps away from it what MySQL cannot even parse.
#[derive(Debug, Clone)]
pub struct Fields(pub serde_json::Value);

/// Deepest nesting of [`Fields`]: metadata, in an entry, in an array, in the body.
const FIELDS_DEPTH: usize = METADATA_DEPTH + 3;

/// Bytes of a field's name at most. MySQL takes 65,535; what the engine keeps is shorter than this.
const NAME_BYTES: usize = 2_048;

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn has_long_name(value: &serde_json::Value) -> bool {
            match value {
                serde_json::Value::Array(items) => items.iter().any(has_long_name),
                serde_json::Value::Object(fields) => fields
                    .iter()
                    .any(|(name, value)| name.len() > NAME_BYTES || has_long_name(value)),
                _ => false,
            }
        }
        let value = serde_json::Value::deserialize(deserializer)?;
        if depth(&value) > FIELDS_DEPTH {
            return Err(de::Error::custom(format!("must be nested at most {FIELDS_DEPTH} deep")));
        }
        if has_long_name(&value) {
            return Err(de::Error::custom(format!(
                "must not have names of more than {NAME_BYTES} bytes"
            )));
        }
        Ok(Fields(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only whether it can be read matters")]
    struct Sample {
        amount: Option<Whole>,
        at: Option<Instant>,
        name: Option<Text<3>>,
        metadata: Option<Metadata>,
        items: Option<Vec<Object<Sample>>>,
    }

    #[track_caller]
    fn refused(body: &str) -> (&'static str, String) {
        let problem = decode::<Sample>(body.as_bytes()).unwrap_err();
        let text = format!("{problem:?}");
        let fields = text.split("field_errors: ").nth(1).unwrap();
        (problem.code(), fields.split_once("}, ").unwrap().0.to_owned() + "}")
    }

    #[test]
    fn the_path_of_what_is_wrong_is_named() {
        for (body, path) in [
            (r#"{"amount": "1"}"#, r#"{"amount": "#),
            (r#"{"amount": 1.5}"#, r#"{"amount": "#),
            (r#"{"amount": 9223372036854775808}"#, r#"{"amount": "#),
            (r#"{"items": [{}, {"amount": true}]}"#, r#"{"items[1].amount": "#),
            (r#"{"items": [[1]]}"#, r#"{"items[0]": "#),
            (r#"{"name": "four"}"#, r#"{"name": "#),
            (r#"{"colour": 1}"#, r#"{"colour": "#),
            (r#"{"at": "2026-02-30T00:00:00Z"}"#, r#"{"at": "#),
            (r#"{"at": "2026-01-01T23:59:60Z"}"#, r#"{"at": "#),
            (r#"{"at": "9999-12-31T23:59:59-01:00"}"#, r#"{"at": "#),
            (r#"{"metadata": [1]}"#, r#"{"metadata": "#),
            ("[]", r#"{"body": "#),
            ("7", r#"{"body": "#),
        ] {
            let (code, fields) = refused(body);
            assert_eq!(code, "VALIDATION_FAILED", "{body}");
            assert!(fields.starts_with(path), "{body}: {fields}");
        }
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for body in ["", "{", "{}x", "{\"amount\": }", "\u{feff}{}"] {
            assert_eq!(refused(body).0, "MALFORMED_JSON", "{body}");
        }
    }

    #[test]
    fn metadata_is_bounded_before_mysql_sees_it() {
        let deep = format!("{{\"metadata\": {{\"a\": {}{}}}}}", "[".repeat(40), "]".repeat(40));
        let long = format!("{{\"metadata\": {{\"{}\": 1}}}}", "k".repeat(20_000));
        for body in [deep, long] {
            assert!(refused(&body).1.starts_with("{\"metadata\": "), "{body}");
        }
        decode::<Sample>(br#"{"metadata": {"a": [1]}}"#).unwrap();
    }

    #[test]
    fn fields_are_bounded_before_mysql_sees_them() {
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(40), "]".repeat(40));
        let long = format!("{{\"a\": [{{\"{}\": 1}}]}}", "k".repeat(3_000));
        for body in [deep, long] {
            let problem = decode::<Fields>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.code(), "VALIDATION_FAILED", "{body}");
        }
        decode::<Fields>(br#"{"a": [{"b": {"c": null}}]}"#).unwrap();
    }

    #[test]
    fn an_instant_is_utc_with_milliseconds() {
        let sample: Sample = decode(br#"{"at": "2026-03-01T01:00:00.1239+01:00"}"#).unwrap();
        assert_eq!(
            sample.at.unwrap().0.format("%F %T%.f").to_string(),
            "2026-03-01 00:00:00.123"
        );
    }
}
