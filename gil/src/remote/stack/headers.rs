//! Compares the layout that is used for each interpreter of this machine with the interpreter's own headers.

use super::layout::{FrameKind, Layout, Text};
use super::reader::StackReader;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stacks/offsets.c");

#[test]
fn the_layouts_are_those_of_the_headers() {
    let mut compared = Vec::new();
    for (python, version) in pythons() {
        let Some(expected) = compile(&python, &version) else {
            eprintln!("skipped: {} has no usable headers", python.display());
            continue;
        };
        let mut child = Command::new(&python)
            .args(["-c", "import sys; sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.readline()"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let reader = StackReader::attach(child.id()).unwrap_or_else(|error| panic!("{version}: {error}"));
        let used = fields(reader.layout());
        drop(child.stdin.take());
        child.wait().unwrap();
        for (name, value) in &used {
            assert_eq!(expected.get(*name), Some(value), "{version}: {name}");
        }
        // What the reader assumes of every version.
        for (name, value) in [("object_type", 8), ("type_name", 24), ("bytes_length", 16)] {
            assert_eq!(expected[name], value, "{version}: {name}");
        }
        if used.iter().any(|(name, _)| *name == "cframe_frame") {
            assert_eq!(expected["cframe_previous_behind_frame"], 8, "{version}");
        }
        if !version.starts_with('2') {
            assert_eq!((expected["text_length"], expected["text_state"]), (16, 32), "{version}");
        }
        compared.push(version);
    }
    eprintln!("compared with the headers of {}", compared.join(", "));
}

/// The fields of `layout`, by the names that the C program prints.
fn fields(layout: &Layout) -> Vec<(&'static str, u64)> {
    let (interpreter, thread, frame, code) = (layout.interpreter, layout.thread, layout.frame, layout.code);
    let mut fields = vec![
        ("interpreter_threads", interpreter.threads),
        ("thread_next", thread.next),
        ("thread_interpreter", thread.interpreter),
        ("thread_frame", thread.frame),
        ("frame_previous", frame.previous),
        ("frame_code", frame.code),
        ("frame_instruction", frame.instruction),
        ("code_file", code.file),
        ("code_function", code.function),
        ("code_first_line", code.first_line),
        ("code_line_table", code.line_table),
        ("bytes_data", layout.bytes_data),
    ];
    if let Some(head) = interpreter.head {
        fields.extend([("interpreters_head", head), ("interpreter_next", interpreter.next)]);
    }
    if let FrameKind::Interpreter { owner, .. } = frame.kind {
        fields.push(("frame_owner", owner));
    }
    if let Text::Unicode { ascii, compact } = layout.text {
        fields.extend([("text_ascii", ascii), ("text_compact", compact)]);
    }
    let optional = [
        ("interpreter_id", interpreter.id),
        ("cframe_frame", thread.cframe),
        ("thread_chunk", thread.chunk),
        ("thread_top", thread.top()),
        ("code_flags", code.flags),
        ("code_bytecode", code.bytecode),
        ("code_first_traceable", code.first_traceable()),
        ("code_warmup", code.warmup),
    ];
    fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    fields
}

/// Returns the executables of pyenv's CPythons, the system's, and those of `make interpreters`, with their versions.
fn pythons() -> Vec<(PathBuf, String)> {
    let entries = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let home = env::home_dir().unwrap_or_default();
    let pyenv = env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
    let mut found: Vec<PathBuf> = entries(pyenv.join("versions")).map(|folder| folder.join("bin/python")).collect();
    found.extend(entries(cache.join("busy/interpreters")).map(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        folder.join(format!("bin/python{name}"))
    }));
    found.push(PathBuf::from("/usr/bin/python3"));
    found.sort();
    let question = "import platform, sys\n\
        if platform.python_implementation() == 'CPython' and 't' not in getattr(sys, 'abiflags', ''): \
        print('%d.%d' % sys.version_info[:2])";
    let version = |python: &PathBuf| {
        let answer = Command::new(python).args(["-c", question]).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(answer.stdout).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    found.into_iter().filter_map(|python| version(&python).map(|version| (python, version))).collect()
}

/// Compiles and runs the C program. Returns the fields that it prints, or `None` without headers or a C compiler.
fn compile(python: &Path, version: &str) -> Option<BTreeMap<String, u64>> {
    let prefix = python.parent()?.parent()?;
    let folders = ["", "m"].map(|suffix| prefix.join(format!("include/python{version}{suffix}")));
    let include = folders.into_iter().find(|folder| folder.join("Python.h").exists())?;
    // The private headers exist from 3.7 on; a package may lack them.
    if !matches!(version, "2.7" | "3.6") && !include.join("internal").exists() {
        return None;
    }
    let program = env::temp_dir().join(format!("busy-offsets-{}-{version}", std::process::id()));
    // Debian's pyconfig.h includes the one of the architecture from the folder above.
    let mut compiler = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler.args(["-w", "-o"]).arg(&program).arg(SOURCE);
    for folder in [&include, &include.join("internal"), &include.parent()?.to_owned()] {
        compiler.arg("-I").arg(folder);
    }
    let output = compiler.output().ok()?;
    assert!(output.status.success(), "{version}: {}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(&program).output().unwrap();
    fs::remove_file(&program).unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let fields = output.lines().map(|line| line.split_once(' ').unwrap());
    Some(fields.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect())
}
