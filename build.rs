//! The tables, the procedures and the console are compiled into the program. Cargo looks for changes in Rust files only, and the macros
//! that embed the folders cannot tell it of a file that is new. Cargo scans a named folder with all its subfolders.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=sql");
    println!("cargo:rerun-if-changed=src/console/page");
}
