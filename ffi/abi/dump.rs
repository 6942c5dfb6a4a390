//! The ABI as sorted lines of text, taken from what bindgen makes of the headers: constants, types, the layout of structs,
//! and functions. The committed lines (abi.txt) are what programs rely on.

use quote::ToTokens;
use std::collections::BTreeSet;
use syn::{BinOp, Expr, Field, Item, ItemStruct, Lit, Stmt, Type};

/// Returns a line for each constant, type, size, alignment, field, offset and function in the source `bindings`.
pub fn dump(bindings: &str) -> Result<String, syn::Error> {
    let mut lines = BTreeSet::new();
    for item in syn::parse_file(bindings)?.items {
        match item {
            Item::Const(layout) if layout.ident == "_" => lines.extend(layout_of(&layout.expr)),
            Item::Const(item) => {
                lines.insert(format!("constant {}: {} = {}", item.ident, text(&item.ty), text(&item.expr)));
            }
            Item::Type(item) => {
                lines.insert(format!("type {} = {}", item.ident, text(&item.ty)));
            }
            Item::Struct(item) => lines.extend(item.fields.iter().filter_map(|field| line_of(&item, field))),
            _ => {}
        }
    }
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

/// Returns the lines of `old` on which programs rely and that `new` lacks. None if the major version has grown.
///
/// A struct that begins with its size may become larger (docs/abi-policy.md), and versions may grow.
pub fn broken<'a>(old: &'a str, new: &str) -> Vec<&'a str> {
    let lines: BTreeSet<&str> = new.lines().collect();
    if number(new, MAJOR) > number(old, MAJOR) {
        return Vec::new();
    }
    let is_broken = |line: &&str| !is_version(line) && !lines.contains(line) && !has_grown(line, new);
    old.lines().filter(is_broken).collect()
}

/// Returns the lines of `new` that `old` lacks. None if the minor or the major version has grown, as it must for them.
pub fn unannounced<'a>(old: &str, new: &'a str) -> Vec<&'a str> {
    let lines: BTreeSet<&str> = old.lines().collect();
    let version = |dump: &str| (number(dump, MAJOR), number(dump, MINOR));
    if version(new) > version(old) {
        return Vec::new();
    }
    new.lines().filter(|line| !is_version(line) && !lines.contains(line)).collect()
}

const MAJOR: &str = "constant BUSY_ABI_MAJOR: u32 = ";
const MINOR: &str = "constant BUSY_ABI_MINOR: u32 = ";

fn is_version(line: &str) -> bool {
    line.starts_with(MINOR) || line.contains("BUSY_VERSION_")
}

/// Returns true if `line` has the size of a struct that knows its size, and that is larger in `new`.
fn has_grown(line: &str, new: &str) -> bool {
    let Some((name, size)) = line.strip_prefix("size of ").and_then(|rest| rest.split_once(": ")) else { return false };
    let knows_size = new.lines().any(|line| line == format!("field {name}::size: usize"));
    knows_size && number(new, &format!("size of {name}: ")) > size.parse().ok()
}

fn number(dump: &str, label: &str) -> Option<u64> {
    dump.lines().find_map(|line| line.strip_prefix(label)).and_then(|number| number.parse().ok())
}

/// Returns the layout in tests such as `["Size of busy_cancel"][size_of::<busy_cancel>() - 4usize]`.
fn layout_of(tests: &Expr) -> Vec<String> {
    let Expr::Block(tests) = tests else { return Vec::new() };
    let line = |test: &Stmt| {
        let Stmt::Expr(Expr::Index(test), _) = test else { return None };
        let (Expr::Array(label), Expr::Binary(difference)) = (&*test.expr, &*test.index) else { return None };
        let (Some(label), BinOp::Sub(_)) = (label.elems.first(), difference.op) else { return None };
        let (Lit::Str(label), Lit::Int(value)) = (literal(label)?, literal(&difference.right)?) else { return None };
        let label = label.value().replace("Offset of field: ", "offset of ");
        Some(format!("{}{}: {}", label[..1].to_lowercase(), &label[1..], value.base10_digits()))
    };
    tests.block.stmts.iter().filter_map(line).collect()
}

fn literal(expression: &Expr) -> Option<&Lit> {
    match expression {
        Expr::Lit(literal) => Some(&literal.lit),
        _ => None,
    }
}

/// Returns the line of a field, or of a function, which is a field of the struct that opens libbusy.
fn line_of(of: &ItemStruct, field: &Field) -> Option<String> {
    let name = field.ident.as_ref()?;
    match &field.ty {
        Type::FnPtr(function) => {
            let types: Vec<String> = function.inputs.iter().map(|parameter| text(&parameter.ty)).collect();
            Some(format!("function {name}({}){}", types.join(", "), text(&function.output)))
        }
        _ if of.ident == "Bindings" => None,
        other => Some(format!("field {}::{name}: {}", of.ident, text(other))),
    }
}

/// Returns a part of the source as people write it.
fn text(part: &impl ToTokens) -> String {
    let text = part.to_token_stream().to_string().replace(":: std :: os :: raw :: ", "");
    [("* const", "*const"), ("* mut", "*mut"), ("->", " ->")]
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDINGS: &str = r#"
        pub const BUSY_ABI_MAJOR: u32 = 1;
        pub type busy_status = i32;
        pub struct x { pub size: usize, pub of: *const x, }
        const _: () = {
            ["Size of x"][::std::mem::size_of::<x>() - 16usize];
            ["Offset of field: x::of"][::std::mem::offset_of!(x, of) - 8usize];
        };
        pub struct Bindings {
            __library: ::libloading::Library,
            pub busy_y: unsafe extern "C" fn(seconds: ::std::os::raw::c_uint, x: *mut x) -> u64,
        }
    "#;

    #[test]
    fn a_dump_has_what_programs_rely_on() {
        let lines = "constant BUSY_ABI_MAJOR: u32 = 1\nfield x::of: *const x\nfield x::size: usize\n\
                     function busy_y(c_uint, *mut x) -> u64\noffset of x::of: 8\nsize of x: 16\ntype busy_status = i32\n";
        assert_eq!(dump(BINDINGS).unwrap(), lines);
    }

    #[test]
    fn only_additions_break_nothing() {
        let old = dump(BINDINGS).unwrap();
        let broken_by = |from, to| {
            assert!(BINDINGS.contains(from), "{from}");
            broken(&old, &dump(&BINDINGS.replace(from, to)).unwrap()).join("; ")
        };
        assert_eq!(broken_by("pub type", "pub const BUSY_NEW: u32 = 1; pub type"), "");
        assert_eq!(broken_by("pub busy_y", "pub busy_z: unsafe extern \"C\" fn(), pub busy_y"), "");
        // A field at the end.
        assert_eq!(broken_by("- 16usize", "- 24usize"), "");
        assert_eq!(broken_by("- 16usize", "- 8usize"), "size of x: 16");
        assert_eq!(broken_by("- 8usize", "- 0usize"), "offset of x::of: 8");
        assert_eq!(broken_by("of: *const x", "of: *mut x"), "field x::of: *const x");
        assert_eq!(broken_by("c_uint", "c_ulong"), "function busy_y(c_uint, *mut x) -> u64");
        assert_eq!(broken_by("busy_y", "busy_z"), "function busy_y(c_uint, *mut x) -> u64");
        assert_eq!(broken_by("= i32", "= i64"), "type busy_status = i32");
        assert_eq!(broken_by("pub size: usize", "pub length: usize"), "field x::size: usize");
        // Additions are named, unless the minor version grows with them.
        let added = dump(&BINDINGS.replace("pub type", "pub const BUSY_NEW: u32 = 1; pub type")).unwrap();
        assert_eq!(unannounced(&old, &added), ["constant BUSY_NEW: u32 = 1"]);
        assert_eq!(unannounced(&old, &format!("{added}{MINOR}1\n")), Vec::<&str>::new());
        assert_eq!(unannounced(&old, &old), Vec::<&str>::new());
        // With a new major version, everything may change.
        assert_eq!(broken(&old, &dump("pub const BUSY_ABI_MAJOR: u32 = 2;").unwrap()), Vec::<&str>::new());
    }
}
