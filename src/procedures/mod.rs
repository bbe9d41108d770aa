//! Typed faces of the stored procedures, and no logic: one function per procedure, named like it without its folder and
//! version, with the rows it gives. What the parameters mean and which errors come is written once, in the header of the
//! procedure's file under `sql/`.
//!
//! Instants are UTC with milliseconds. Amounts are whole numbers of the definition's smallest unit.

pub mod access;
pub mod billing;
pub mod demonstration;
pub mod entitlement;
pub mod operator;
pub mod scaffold;
