//! The command `busy`.

fn main() {}
