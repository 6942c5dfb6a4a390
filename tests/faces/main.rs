//! Runs one table of cases (cases.txt) on every face of busy: Rust, C, ctypes on every Python, and the Python module.
//! All faces reply in the same form, so a difference between two faces is either in the table or a defect.

#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/prefix.rs"]
mod prefix;
mod rust;
mod table;

use common::{Python, libbusy, library, printed, pythons};
use prefix::{Prefix, source};
use std::iter;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use table::{Case, Column, Reply, cases};

/// One face of busy.
struct Face {
    name: String,
    column: Column,
    /// The program that takes requests as arguments and prints a reply to each. None means this process.
    program: Option<Command>,
}

impl Face {
    /// Returns the replies of the face to `cases`, in order.
    fn replies(&mut self, cases: &[&Case]) -> Vec<Reply> {
        let Some(program) = &mut self.program else { return cases.iter().map(|case| rust::reply(case)).collect() };
        let printed = printed(program.args(cases.iter().map(|case| case.request(self.column))));
        let replies: Vec<Reply> = printed.lines().map(Reply::parse).collect();
        let replied = replies.iter().map(|reply| &reply.case);
        assert!(replied.eq(cases.iter().map(|case| &case.name)), "{}: not one reply per request\n{printed}", self.name);
        replies
    }

    /// Returns the replies that differ from the table.
    fn differences(mut self, cases: &[Case]) -> Vec<String> {
        let cases: Vec<_> = cases.iter().filter(|case| case.expected(self.column) != "-").collect();
        assert!(!cases.is_empty());
        let replies = self.replies(&cases);
        eprintln!("{}: {} replies", self.name, replies.len());
        let differs = |(case, reply): (&&Case, &Reply)| {
            let expected = case.expected(self.column);
            (!reply.is(expected)).then(|| format!("{}: expected {expected}, found {reply}", self.name))
        };
        cases.iter().zip(&replies).filter_map(differs).collect()
    }
}

/// Returns the C face, and the folder that holds its program.
fn c() -> (Face, Prefix) {
    let prefix = Prefix::new();
    let arguments = prefix.shared().into_iter().chain(["-pthread".into()]);
    let program = prefix.compile(&source("tests/faces/face.c"), "c11", "face", arguments);
    (Face { name: "C".into(), column: Column::C, program: Some(Command::new(program)) }, prefix)
}

/// Returns the command that runs `script` of this folder on `python`, without writing bytecode into the source folder.
fn script(python: &Python, script: &str) -> Command {
    let mut command = Command::new(&python.path);
    command.arg("-B").arg(source("tests/faces").join(script));
    command
}

fn ctypes(python: &Python) -> Face {
    let mut command = script(python, "face_ctypes.py");
    command.arg(libbusy());
    Face { name: format!("ctypes on {}", python.name), column: Column::C, program: Some(command) }
}

/// Returns the faces of both functions of the module, if `python` can import it.
fn module(python: &Python) -> Vec<Face> {
    if !python.has_module() {
        return Vec::new();
    }
    let face = |function: &str| {
        let mut command = script(python, "face_module.py");
        command.arg(function).env("PYTHONPATH", module_folder());
        Face { name: format!("{function} on {}", python.name), column: Column::Python, program: Some(command) }
    };
    ["with_lock", "without_lock"].map(face).into()
}

impl Python {
    /// Returns true if the module supports this interpreter, which must be CPython 3.10 or later.
    fn has_module(&self) -> bool {
        let version = self.name.strip_prefix("CPython 3.").and_then(|minor| minor.parse().ok());
        version.is_some_and(|minor: u32| minor >= 10)
    }
}

/// Returns the folder that must be on PYTHONPATH for `import busy`.
fn module_folder() -> PathBuf {
    let folder = libbusy().with_file_name("python");
    library::assert_fresh(&folder.join("busy/_busy.abi3.so"), &folder.with_file_name("lib_busy.d"), "make build");
    folder
}

#[test]
fn the_module_reports_the_holder_of_the_gil_on_every_python() {
    for python in pythons() {
        let expected = match python.has_module() {
            true => "watched\n",
            false if python.name.ends_with('t') => "refused\n",
            false => continue,
        };
        let found = printed(script(&python, "face_watch.py").env("PYTHONPATH", module_folder()));
        assert_eq!(found, expected, "{}", python.name);
    }
}

#[test]
fn every_face_matches_the_table() {
    let cases = cases();
    let (c, _prefix) = c();
    let pythons = pythons();
    let mut faces = vec![Face { name: "Rust".into(), column: Column::Rust, program: None }, c];
    faces.extend(pythons.iter().map(ctypes));
    faces.extend(pythons.iter().flat_map(module));

    // One face per core: if more of them ran, a wait that ends early could be delayed by the time slice of another
    // face, and the test could miss the early end.
    let faces = Mutex::new(faces.into_iter());
    let next = || faces.lock().unwrap().next();
    let differences = || iter::from_fn(next).flat_map(|face| face.differences(&cases)).collect::<Vec<_>>();
    let differences: Vec<_> = thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
        let running: Vec<_> = (0..cores).map(|_| scope.spawn(differences)).collect();
        running.into_iter().flat_map(|core| core.join().unwrap()).collect()
    });
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}
