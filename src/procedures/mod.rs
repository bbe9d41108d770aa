//! Typed faces of the stored procedures, and no logic: one function per procedure, named like it without its folder and
//! version, with the rows it gives. What the parameters mean and which errors come is written once, in the header of the
//! procedure's file under `sql/`.
//!
//! Instants are UTC with milliseconds. Amounts are whole numbers of the definition's smallest unit.

/// Reads the fields of a struct from the columns of a row that are named like them, as `#[derive(FromRow)]` does; `None` where one is
/// missing or of another type. For rows of which a busy gateway reads tens of thousands a second: what is derived makes a map of the
/// columns for each. The method is `get_opt`, or `take_opt` where no other struct is read from the row afterwards.
macro_rules! from_columns {
    ($row:ident.$method:ident => $name:ident { $($field:ident),* $(,)? }) => {
        Some(()).and_then(|()| Some($name { $($field: $row.$method(stringify!($field))?.ok()?),* }))
    };
}

pub mod access;
pub mod billing;
pub mod demonstration;
pub mod entitlement;
pub mod operator;
pub mod scaffold;
