//! A libbusy that is instrumented for ThreadSanitizer, and programs that are linked with it.
//!
//! The runtime is the one of the Rust toolchain, whose version is that of the instrumentation. Rust's standard library
//! comes without instrumentation. So std_sync.c describes to ThreadSanitizer the functions of it with which libbusy waits
//! for other threads.

use super::common::{libbusy, printed};
use super::prefix::{compiler, source, text};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The exit code of a program in which ThreadSanitizer found an error.
pub const FOUND: i32 = 66;

/// CPython is not instrumented, so its accesses by memcpy(3) and the like must not count.
pub const OPTIONS: &str = "ignore_noninstrumented_modules=1 exitcode=66";

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// An instrumented libbusy.
pub struct Instrumented {
    folder: PathBuf,
    runtime: PathBuf,
}

impl Instrumented {
    /// Compiles it into build/tsan. RUSTC_BOOTSTRAP lets the stable compiler instrument code.
    pub fn build() -> Self {
        let folder = source("build/tsan");
        std::fs::create_dir_all(&folder).unwrap();
        let sysroot = printed(Command::new("rustc").args(["--print", "sysroot"]));
        let runtime = format!("lib/rustlib/{TARGET}/lib/librustc-stable_rt.tsan.a");
        let runtime = Path::new(sysroot.trim()).join(runtime);
        assert!(runtime.is_file(), "{} is missing: this needs a Rust toolchain from rustup", runtime.display());

        let names = [("LOCK", "mutex", "lock_contended"), ("ONCE", "once", "4Once4call")];
        let names = names.map(|(macro_name, module, end)| (macro_name, mangled(module, end)));
        let shim = folder.join("std_sync.o");
        let mut command = compiler(false);
        command.args(names.iter().map(|(macro_name, name)| format!("-D{macro_name}=\"{name}\"")));
        command.args(["-fPIC", "-c", "-o"]).arg(&shim).arg(source("tests/sanitizers/std_sync.c"));
        printed(&mut command);

        let mut flags = vec!["-Zsanitizer=thread".into(), "-Cunsafe-allow-abi-mismatch=sanitizer".into()];
        flags.push(format!("-Clink-arg={}", text(&shim)));
        flags.extend(names.iter().map(|(_, name)| format!("-Clink-arg=-Wl,--wrap={name}")));
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--release", "-p", "busy-ffi", "--target", TARGET, "--target-dir"]);
        cargo.arg(folder.join("target")).current_dir(source("."));
        // Encoded, because the paths may contain blanks. With LTO, the linker would not see the calls into the standard
        // library.
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).env("CARGO_PROFILE_RELEASE_LTO", "off");
        assert_eq!(printed(cargo.env("RUSTC_BOOTSTRAP", "1")), "");

        let library = folder.join("libbusy.so.1");
        std::fs::copy(folder.join("target").join(TARGET).join("release/libbusy.so"), &library).unwrap();
        let symbols = printed(Command::new("nm").arg(&library));
        for name in ["U __tsan_write8", "t __wrap_"] {
            assert!(symbols.contains(name), "{} is not instrumented: no symbol `{name}`", library.display());
        }
        Self { folder, runtime }
    }

    /// Compiles and links the instrumented program `source` with this libbusy, and returns its path.
    pub fn program(&self, source: &Path, link: &[String]) -> PathBuf {
        let program = self.folder.join(source.file_stem().unwrap());
        let object = program.with_extension("o");
        let mut command = compiler(false);
        command.args(["-g", "-fsanitize=thread", "-c", "-I"]).arg(super::source("ffi/include"));
        printed(command.arg("-o").arg(&object).arg(source));
        // The libraries must find the functions of the runtime in the program.
        let mut command = compiler(false);
        command.arg("-rdynamic").arg(&object).arg("-Wl,--whole-archive").arg(&self.runtime);
        command.arg("-Wl,--no-whole-archive").arg(self.folder.join("libbusy.so.1"));
        command.arg(format!("-Wl,-rpath,{}", text(&self.folder))).args(link);
        printed(command.args(["-pthread", "-ldl", "-lm", "-lrt", "-lresolv", "-o"]).arg(&program));
        program
    }
}

/// Returns the mangled name of a function of the standard library, from the symbols of the usual libbusy. It contains
/// the hash of the standard library's version.
fn mangled(module: &str, end: &str) -> String {
    let symbols = printed(Command::new("nm").arg(libbusy()));
    let mut names = symbols.split_whitespace().filter(|name| name.ends_with(end) && name.contains("3std3sys4sync"));
    let name = names.find(|name| name.contains(module));
    name.unwrap_or_else(|| panic!("no function {module}::{end} of the standard library in libbusy")).to_owned()
}
