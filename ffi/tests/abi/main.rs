//! Compares the file libbusy.so with the committed ABI: its symbols, its soname, its flags and its dependencies; and the
//! committed files with what the code generates.

#![cfg(target_os = "linux")]

#[path = "../../src/abi.rs"]
mod abi;
#[path = "../common/mod.rs"]
mod common;
#[path = "../../abi/dump.rs"]
mod dump;
mod generated;

use object::Endianness;
use object::elf::{DF_1_NODELETE, DT_FLAGS_1, DT_NEEDED, DT_SONAME, DynamicTag};
use object::read::elf::ElfFile64;
use object::read::{Object, ObjectSymbol};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const SYMBOLS: &str = "abi/symbols.txt";
const HEADERS: &str = "include";
/// What another file of the same release calls, and no program may: no header declares it.
const PRIVATE: [&str; 1] = ["busy_record_begin"];

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the dynamic symbols of the library that programs may use.
fn exported() -> BTreeSet<String> {
    let file = fs::read(common::libbusy()).unwrap();
    let library = ElfFile64::<Endianness>::parse(file.as_slice()).unwrap();
    let symbols = library.dynamic_symbols().filter(|symbol| symbol.is_definition() && symbol.is_global());
    let names = symbols.map(|symbol| symbol.name().unwrap().to_owned());
    names.filter(|name| !PRIVATE.contains(&name.as_str())).collect()
}

/// Returns the values of `tag` in the dynamic section of the library: each as a number and, if it is a name, as text.
fn dynamic(tag: DynamicTag) -> Vec<(u64, String)> {
    let file = fs::read(common::libbusy()).unwrap();
    let library = ElfFile64::<Endianness>::parse(file.as_slice()).unwrap();
    let table = library.elf_dynamic_table().unwrap();
    let entries = table.iter().filter(|entry| entry.tag == tag);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    entries
        .map(|entry| (entry.val, if entry.is_string() { text(table.string(entry).unwrap()) } else { String::new() }))
        .collect()
}

/// Returns the functions that the headers declare: the names before a parenthesis, outside comments and macros.
fn declared() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(HEADERS);
    let headers = fs::read_dir(folder).unwrap().map(|header| fs::read_to_string(header.unwrap().path()).unwrap());
    headers.flat_map(|header| declared_in(&header)).collect()
}

fn declared_in(header: &str) -> BTreeSet<String> {
    let without_comments: String = header
        .split("/*")
        .enumerate()
        .map(|(index, part)| if index == 0 { part } else { part.split_once("*/").expect("an open comment").1 })
        .collect();
    // A backslash at the end of a line continues a macro.
    let joined = without_comments.replace("\\\n", " ");
    let declarations = joined.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let name = |before: &str| {
        let start =
            before.rfind(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').map_or(0, |at| at + 1);
        before[start..].to_owned()
    };
    declarations.match_indices('(').map(|(at, _)| name(&declarations[..at])).collect()
}

#[test]
fn the_exported_symbols_match_the_list() {
    let listed: BTreeSet<String> = read(SYMBOLS).lines().map(str::to_owned).collect();
    let exported = exported();
    let new: Vec<_> = exported.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&exported).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "libbusy.so exports {new:?}, which ffi/{SYMBOLS} does not list, and lacks {gone:?}, which ffi/{SYMBOLS} lists: \
         run `make generate`, which reports whether programs would break"
    );
}

#[test]
fn the_headers_declare_exactly_the_exported_symbols() {
    let (declared, exported) = (declared(), exported());
    let missing: Vec<_> = declared.difference(&exported).collect();
    let hidden: Vec<_> = exported.difference(&declared).collect();
    assert!(
        missing.is_empty(),
        "ffi/{HEADERS} declares {missing:?}, which libbusy.so lacks: check that it is #[unsafe(no_mangle)]"
    );
    assert!(
        hidden.is_empty(),
        "libbusy.so exports {hidden:?}, which no header in ffi/{HEADERS} declares: run `make generate`"
    );
}

#[test]
fn declarations_are_distinguished_from_comments_and_macros() {
    let header =
        "/* busy_a() */\n#define B(x) \\\n    busy_c(x)\nint busy_d(void);\nconst char *busy_e(int f,\n  int g);\n";
    assert_eq!(declared_in(header), ["busy_d", "busy_e"].map(str::to_owned).into());
}

#[test]
fn the_soname_carries_the_major_version() {
    let sonames: Vec<_> = dynamic(DT_SONAME).into_iter().map(|(_, name)| name).collect();
    assert_eq!(sonames, [format!("libbusy.so.{}", abi::BUSY_ABI_MAJOR)], "ffi/build.rs sets the soname");
}

#[test]
fn cargo_c_installs_the_version_of_the_abi() {
    let line = format!("version = \"{}.{}.0\"", abi::BUSY_ABI_MAJOR, abi::BUSY_ABI_MINOR);
    let manifest = read("Cargo.toml");
    let found = manifest.split("[package.metadata.capi.library]").nth(1).unwrap();
    assert!(found.trim_start().starts_with(&line), "no `{line}` for cargo-c's library in ffi/Cargo.toml");
}

#[test]
fn the_header_states_the_version_of_the_library() {
    let header = read("include/busy.h");
    for (name, number) in [("BUSY_ABI_MAJOR", abi::BUSY_ABI_MAJOR), ("BUSY_ABI_MINOR", abi::BUSY_ABI_MINOR)] {
        let line = format!("#define {name} {number}");
        assert!(header.lines().any(|found| found == line), "no `{line}` in busy.h: run `make generate`");
    }
}

#[test]
fn the_header_states_the_longest_wait_of_the_core() {
    let line = format!("#define BUSY_WAIT_MAX_NS {}", busy_core::MAX_WAIT_NS);
    assert!(read("include/busy.h").lines().any(|found| found == line), "no `{line}` in busy.h: run `make generate`");
}

#[test]
fn the_library_stays_mapped_once_loaded() {
    let flags = dynamic(DT_FLAGS_1).iter().fold(0, |all, (flags, _)| all | flags);
    assert_ne!(flags & DF_1_NODELETE.0, 0, "no DF_1_NODELETE in {flags:#x}: ffi/build.rs passes -z nodelete");
}

#[test]
fn the_library_needs_libc_and_no_libpython() {
    let needed: Vec<_> = dynamic(DT_NEEDED).into_iter().map(|(_, name)| name).collect();
    assert!(needed.iter().any(|name| name.starts_with("libc.")), "{needed:?}");
    assert!(!needed.iter().any(|name| name.starts_with("libpython")), "{needed:?}");
}
