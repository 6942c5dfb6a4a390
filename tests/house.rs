//! The structure of the source tree, read from its imports: no two files import each other, directly or through others, and
//! the folders of src/ import only those below them (CONTRIBUTING.md).
//!
//! An import is a path into the crate, in a `use` or in code. A name that a module re-exports (`pub use`) counts as an
//! import of the file that defines it; declaring a child (`mod`) and re-exporting from it is not an import. Test
//! modules are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

/// The path of a module or an item below the crate's root.
type Name = Vec<String>;

/// The paths that one file contains.
#[derive(Default)]
struct File {
    module: Name,
    children: BTreeSet<String>,
    imports: Vec<Name>,
    /// The re-exported names, each with the path to which it refers.
    exports: BTreeMap<String, Name>,
}

impl File {
    fn read(module: Name, path: &Path) -> Self {
        let source = syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap();
        let modules = source.items.iter().filter_map(|item| if let Item::Mod(item) = item { Some(item) } else { None });
        let children = modules.map(|item| item.ident.to_string()).collect();
        let mut file = Self { module, children, ..Self::default() };
        file.visit_file(&source);
        file
    }

    /// Returns `path` as an absolute path, or None if it leads out of the crate.
    fn absolute(&self, path: &[String]) -> Option<Name> {
        let supers = path.iter().take_while(|part| *part == "super").count();
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([&self.module[..], &path[1..]].concat()),
            "super" => Some([&self.module[..self.module.len().checked_sub(supers)?], &path[supers..]].concat()),
            child if self.children.contains(child) => Some([&self.module[..], path].concat()),
            _ => None,
        }
    }
}

impl<'a> Visit<'a> for File {
    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        for path in leaves(&item.tree, &[]) {
            let (path, name) = path;
            let Some(path) = self.absolute(&path) else { continue };
            if matches!(item.vis, Visibility::Inherited) {
                self.imports.push(path);
            } else {
                self.exports.insert(name, path);
            }
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let parts: Name = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.imports.extend(self.absolute(&parts).filter(|_| parts.len() > 1));
        visit::visit_path(self, path);
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
    })
}

/// Returns the paths of a use tree below `base`, each with the name under which it is imported.
fn leaves(tree: &UseTree, base: &[String]) -> Vec<(Name, String)> {
    let joined = |name: &syn::Ident| [base, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &joined(&path.ident)),
        UseTree::Name(name) if name.ident == "self" => vec![(base.to_vec(), base.last().cloned().unwrap_or_default())],
        UseTree::Name(name) => vec![(joined(&name.ident), name.ident.to_string())],
        UseTree::Rename(name) => vec![(joined(&name.ident), name.rename.to_string())],
        UseTree::Glob(_) => vec![(base.to_vec(), "*".into())],
        UseTree::Group(group) => group.items.iter().flat_map(|tree| leaves(tree, base)).collect(),
    }
}

/// Reads a crate's files, and returns the imports of each file.
fn imports(folder: &Path) -> BTreeMap<Name, BTreeSet<Name>> {
    let mut files = BTreeMap::new();
    read(folder, folder, &mut files);
    let targets = |file: &File| file.imports.iter().filter_map(|path| defining(&files, path)).collect::<BTreeSet<_>>();
    let mut imports: BTreeMap<Name, BTreeSet<Name>> =
        files.iter().map(|(name, file)| (name.clone(), targets(file))).collect();
    for (name, targets) in &mut imports {
        targets.remove(name);
    }
    imports
}

/// Reads the files below `folder`: `process/mod.rs` is the module `process`, and `lib.rs` is the root.
fn read(root: &Path, folder: &Path, files: &mut BTreeMap<Name, File>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !root.join("main.rs").eq(&path) {
            let below = path.strip_prefix(root).unwrap().with_extension("");
            let mut module: Name = below.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            module.pop_if(|name| ["mod", "lib"].contains(&name.as_str()));
            files.insert(module.clone(), File::read(module, &path));
        }
    }
}

/// Returns the file that defines `path`: the file of the longest prefix that is a module, or the file to which that
/// file's re-exports lead.
fn defining(files: &BTreeMap<Name, File>, path: &[String]) -> Option<Name> {
    let mut path = path.to_vec();
    loop {
        let length = (0..=path.len()).rev().find(|length| files.contains_key(&path[..*length]))?;
        let module = path[..length].to_vec();
        match path.get(length).and_then(|name| files[&module].exports.get(name)) {
            Some(target) => path = [&target[..], &path[length + 1..]].concat(),
            None => return Some(module),
        }
    }
}

/// Returns a circle of files, if there is one.
fn circle(imports: &BTreeMap<Name, BTreeSet<Name>>) -> Option<Vec<String>> {
    fn walk(
        imports: &BTreeMap<Name, BTreeSet<Name>>,
        file: &Name,
        way: &mut Vec<Name>,
        done: &mut BTreeSet<Name>,
    ) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|other| other == file) {
            return Some(way[start..].iter().chain([file]).map(|file| file.join("::")).collect());
        }
        if !done.insert(file.clone()) {
            return None;
        }
        way.push(file.clone());
        let found = imports[file].iter().find_map(|next| walk(imports, next, way, done));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|file| walk(imports, file, &mut Vec::new(), &mut done))
}

fn source(folder: &str) -> BTreeMap<Name, BTreeSet<Name>> {
    imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
}

#[test]
fn no_two_files_import_each_other() {
    for folder in ["src", "busy-core/src", "gil/src", "ffi/src", "loader/src", "pyext/src", "benches/src"] {
        let imports = source(folder);
        assert!(imports.values().any(|imports| !imports.is_empty()), "{folder}: expected imports, found none");
        assert_eq!(circle(&imports), None, "{folder}: these files import each other in a circle");
    }
}

#[test]
fn folders_import_only_the_folders_below_them() {
    const LEAVES: [&str; 3] = ["results", "units", "paths"];
    let below: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("command", &["show", "experiments", "trace", "measure", "provision", "interpreter", "process"][..]),
        ("show", &["experiments", "trace"]),
        ("experiments", &["measure", "provision", "interpreter"]),
        ("measure", &["provision", "interpreter", "process"]),
        ("provision", &["interpreter", "process"]),
        ("interpreter", &["process"]),
    ]);
    let mut arrows = BTreeSet::new();
    for (file, imports) in &source("src") {
        let pairs = imports.iter().filter_map(|import| Some((file.first()?.clone(), import.first()?.clone())));
        arrows.extend(pairs.filter(|(from, to)| from != to));
    }
    for (from, to) in &arrows {
        let is_below = below.get(from.as_str()).is_some_and(|below| below.contains(&to.as_str()));
        assert!(is_below || LEAVES.contains(&to.as_str()), "{from} must not import {to}");
    }
    assert!(arrows.len() > 15, "expected more than 15 imports between folders, found {arrows:?}");
}

#[test]
fn a_circle_through_a_re_export_is_found_and_imports_of_tests_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("lib.rs", "mod one; mod two; pub use one::{First, Second as Other};");
    write("one.rs", "use crate::two::{Third, Fourth}; pub struct First(Third); pub struct Second;");
    write("two.rs", "pub struct Third(crate::Other);");
    assert_eq!(circle(&imports(folder.path())).unwrap(), ["one", "two", "one"]);
    write("two.rs", "pub struct Third; #[cfg(test)] mod tests { use crate::First; }");
    assert_eq!(circle(&imports(folder.path())), None);
}
