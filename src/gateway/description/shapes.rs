//! Forms that a procedure checks and no type says: what a field's schema is made of beside the type that parses it.

use std::borrow::Cow;

use serde_json::{Value, json as value};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::json_of;
use crate::gateway::wire::AMOUNT_AT_MOST;

/// The pattern of a text that is not only blanks and characters that nobody sees: MySQL compares texts without these.
const SAYS: &str = "[^ \\u0000-\\u0008\\u000e-\\u001f\\u007f-\\u0084\\u0086-\\u009f\\u00ad]";

/// The pattern of 1 to `max` visible ASCII characters.
pub fn visible(max: usize) -> String {
    format!("^[!-~]{{1,{max}}}$")
}

fn text(pattern: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .into()
}

fn whole(from: i64, to: i64) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(from))
        .maximum(Some(to))
        .into()
}

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident = $schema:expr;)*) => {
        $(
            $(#[$doc])*
            pub struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    $schema
                }
            }

            impl ToSchema for $name {}
        )*
    };
}

shapes! {
    /// A workspace's name in URLs.
    Slug = text("^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$");
    /// An amount that is used or granted.
    Amount = whole(1, AMOUNT_AT_MOST);
    /// How many there are.
    Count = whole(0, AMOUNT_AT_MOST);
    /// The id of a thing.
    Id = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(u64::MAX)).into();
    /// A text that says something.
    Reason = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255)).pattern(Some(SAYS)).into();
    /// How many times a plan.
    Quantity = whole(1, 1_000_000);
    /// Grants of a limit are used up in the order of their priorities.
    Priority = whole(0, 255);
    /// How many subjects are verified at once.
    PageOfSubjects = whole(1, 1_000);
    /// How long what is bought for a while lasts.
    Days = whole(1, 36_500);
    /// How long a hold lasts.
    HoldSeconds = whole(1, 86_400);
}

/// 1 to `MAX` visible ASCII characters.
pub struct Visible<const MAX: usize>;

impl<const MAX: usize> PartialSchema for Visible<MAX> {
    fn schema() -> RefOr<Schema> {
        text(&visible(MAX))
    }
}

impl<const MAX: usize> ToSchema for Visible<MAX> {
    fn name() -> Cow<'static, str> {
        format!("Visible{MAX}").into()
    }
}

/// One of some words.
pub fn words(words: &[&str]) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words.iter().copied()))
        .into()
}

/// A name of at most `max` characters.
pub fn name(max: usize) -> Value {
    value!({"type": "string", "maxLength": max, "pattern": SAYS})
}

/// An object of these fields, some of which must be there, and no others.
pub fn object(fields: Value, required: &[&str]) -> Value {
    value!({"type": "object", "properties": fields, "required": required, "additionalProperties": false})
}

/// An array of `least` to `most` things of a schema.
pub fn array(items: Value, least: usize, most: usize) -> Value {
    value!({"type": "array", "items": items, "minItems": least, "maxItems": most})
}

/// A schema with one of some of its fields: each alternative is a field with those that may not be beside it.
pub fn one_of(schema: &Value, alternatives: &[(&str, &[&str])]) -> Value {
    let variants = alternatives.iter().map(|(field, absent)| {
        let mut variant = schema.clone();
        let given = &mut variant["properties"][*field];
        if let Some(schemas) = given["oneOf"].as_array() {
            let named = schemas.iter().find(|schema| schema["type"] != "null").cloned();
            *given = named.unwrap_or_default();
        } else if let Some(types) = given["type"].as_array() {
            let named = types.iter().find(|name| **name != "null").cloned();
            given["type"] = named.unwrap_or_default();
        }
        for field in *absent {
            variant["properties"][*field] = value!({"type": "null"});
        }
        let mut required = variant["required"].as_array().cloned().unwrap_or_default();
        required.push((*field).into());
        variant["required"] = required.into();
        variant
    });
    value!({"oneOf": variants.collect::<Vec<_>>()})
}

/// The schema of a type, in JSON.
pub fn of<T: PartialSchema>() -> Value {
    json_of(T::schema())
}
