//! Sets the soname of the shared library, and the flag that keeps the library mapped once it is loaded.

#[allow(dead_code, reason = "only the library uses the minor version")]
#[path = "src/abi.rs"]
mod abi;

fn main() {
    println!("cargo:rerun-if-changed=src/abi.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        if std::env::var_os("CARGO_FEATURE_CAPI").is_none() {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libbusy.so.{}", abi::BUSY_ABI_MAJOR);
        }
        // Without this flag, dlclose(3) would still return 0 and leave a library with thread-locals mapped. The flag
        // makes that a documented property of the file.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
