//! Gives the shared library its soname, and keeps it mapped once loaded.

#[allow(dead_code, reason = "only the library has a use for the minor version")]
#[path = "src/abi.rs"]
mod abi;

fn main() {
    println!("cargo:rerun-if-changed=src/abi.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libbusy.so.{}", abi::BUSY_ABI_MAJOR);
        // dlclose(3) would answer 0 and leave a library with thread-locals mapped all the same: say so in the file.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
