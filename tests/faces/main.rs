//! One table of cases (cases.txt) through every face of busy: Rust, C, ctypes on every Python, the Python module. All
//! answer in one form, so that what differs between two faces is either in the table or a defect.

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
use table::{Answer, Case, Column, cases};

/// One way in to busy.
struct Face {
    name: String,
    column: Column,
    /// A program that takes questions as arguments and prints an answer each; None is this very program.
    program: Option<Command>,
}

impl Face {
    /// Its answer to each of `cases`, in order.
    fn answers(&mut self, cases: &[&Case]) -> Vec<Answer> {
        let Some(program) = &mut self.program else { return cases.iter().map(|case| rust::answer(case)).collect() };
        let printed = printed(program.args(cases.iter().map(|case| case.question(self.column))));
        let answers: Vec<Answer> = printed.lines().map(Answer::parse).collect();
        let answered = answers.iter().map(|answer| &answer.case);
        assert!(answered.eq(cases.iter().map(|case| &case.name)), "{}: not an answer a question\n{printed}", self.name);
        answers
    }

    /// What it answers otherwise than the table says.
    fn differences(mut self, cases: &[Case]) -> Vec<String> {
        let asked: Vec<_> = cases.iter().filter(|case| case.expected(self.column) != "-").collect();
        assert!(!asked.is_empty());
        let answers = self.answers(&asked);
        eprintln!("{}: {} answers", self.name, answers.len());
        let differs = |(case, answer): (&&Case, &Answer)| {
            let expected = case.expected(self.column);
            (!answer.is(expected)).then(|| format!("{}: expected {expected}, found {answer}", self.name))
        };
        asked.iter().zip(&answers).filter_map(differs).collect()
    }
}

/// The C face, and what keeps its program.
fn c() -> (Face, Prefix) {
    let prefix = Prefix::new();
    let arguments = prefix.shared().into_iter().chain(["-pthread".into()]);
    let program = prefix.compile(&source("tests/faces/face.c"), "c11", "face", arguments);
    (Face { name: "C".into(), column: Column::C, program: Some(Command::new(program)) }, prefix)
}

/// `script` of this folder on `python`, which is to leave no byte code among the sources.
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

/// Both functions of the module, where it can be imported.
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
    /// CPython 3.10 or later is what the module is built for.
    fn has_module(&self) -> bool {
        let version = self.name.strip_prefix("CPython 3.").and_then(|minor| minor.parse().ok());
        version.is_some_and(|minor: u32| minor >= 10)
    }
}

/// What is to be on PYTHONPATH for `import busy`.
fn module_folder() -> PathBuf {
    let folder = libbusy().with_file_name("python");
    library::assert_fresh(&folder.join("busy/_busy.abi3.so"), &folder.with_file_name("lib_busy.d"), "make build");
    folder
}

#[test]
fn the_module_tells_who_holds_the_gil_on_every_python() {
    for python in pythons() {
        let expected = match python.has_module() {
            true => "watched\n",
            false if python.name.ends_with('t') => "refused\n",
            false => continue,
        };
        let told = printed(script(&python, "face_watch.py").env("PYTHONPATH", module_folder()));
        assert_eq!(told, expected, "{}", python.name);
    }
}

#[test]
fn every_face_answers_as_the_table_says() {
    let cases = cases();
    let (c, _prefix) = c();
    let pythons = pythons();
    let mut faces = vec![Face { name: "Rust".into(), column: Column::Rust, program: None }, c];
    faces.extend(pythons.iter().map(ctypes));
    faces.extend(pythons.iter().flat_map(module));

    // One for each core: a wait whose end falls into another's time slice is late, however early it would have been.
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
