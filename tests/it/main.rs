//! The one test program. Its modules are named like the parts that they test.

mod embedded;
mod support;
