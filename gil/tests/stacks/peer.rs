//! The stacks are those that py-spy reports.

use crate::parked::Parked;
use crate::pythons::{alone, with_gil};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// What py-spy calls a frame: from 3.11 on, its `name` may be `co_qualname` or `co_name`.
fn last_name(function: &str) -> &str {
    if function.ends_with('>') {
        &function[function.rfind('<').unwrap()..]
    } else {
        function.rsplit('.').next().unwrap()
    }
}

#[test]
fn py_spy_reports_the_same_stacks() {
    let _alone = alone();
    let py_spy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/venv/bin/py-spy");
    if !py_spy.exists() {
        eprintln!("skipped: {} is missing (make check installs it)", py_spy.display());
        return;
    }
    let only = ["nested", "methods", "generators", "callbacks", "raises", "comprehension", "coroutines", "executed"];
    let mut compared = 0;
    for python in with_gil() {
        let parked = Parked::start(&python, &only);
        let (mut reader, threads) = parked.attach();
        let pid = parked.talker.pid().to_string();
        let output = Command::new(&py_spy).args(["dump", "--nonblocking", "--json", "--pid", &pid]).output().unwrap();
        if !output.status.success() {
            eprintln!("skipped: py-spy can't read {}: {}", python.name, String::from_utf8_lossy(&output.stderr));
            continue;
        }
        let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
        let theirs: Vec<Vec<(String, String, u64)>> = theirs
            .as_array()
            .unwrap()
            .iter()
            .map(|thread| {
                let text = |frame: &Value, key: &str| frame[key].as_str().unwrap().to_owned();
                let frames = thread["frames"].as_array().unwrap().iter();
                frames
                    .map(|frame| {
                        let name = last_name(&text(frame, "name")).to_owned();
                        (text(frame, "filename"), name, frame["line"].as_u64().unwrap())
                    })
                    .collect()
            })
            .collect();
        for (place, thread) in &threads {
            let stack = reader.read(thread.state).unwrap();
            let ours: Vec<_> = stack
                .frames
                .iter()
                .map(|frame| {
                    let line = frame.line.unwrap_or(0).into();
                    (frame.file.to_string(), last_name(&frame.function).to_owned(), line)
                })
                .collect();
            assert!(theirs.contains(&ours), "{}, {place}: {ours:#?}\nnot in {theirs:#?}", python.name);
        }
        compared += 1;
        println!("{}: py-spy agrees on {} stacks", python.name, threads.len());
    }
    assert!(compared >= 2 || with_gil().len() < 2, "py-spy read {compared} interpreters");
}
