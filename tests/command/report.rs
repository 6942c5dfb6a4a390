//! `busy report`: the page of a recording, its data, and what it refuses.

use crate::harness::{Sandbox, real_python, stderr, stdout};
use busy_lab::trace::{Block, Event, HEAD, Kind, Process, Stall, Start, Thread};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A program whose thread `hold` holds the GIL for 40 ms, three times, while its main thread waits. The thread's argument
/// and the program's name could be taken for HTML.
const PROGRAM: &str = "
import ctypes, sys, threading, time
nap = ctypes.PyDLL(None).usleep
def hold():
    for _ in range(3):
        nap(40000)
        time.sleep(0.05)
thread = threading.Thread(target=hold)
thread.start()
while thread.is_alive():
    time.sleep(0.001)
";

fn recorded(sandbox: &Sandbox, options: &[&str]) -> PathBuf {
    let (script, file) = (sandbox.path("<b>&.py"), sandbox.path("r.busy"));
    fs::write(&script, PROGRAM).unwrap();
    let python = real_python();
    let head = ["record", "-o", file.to_str().unwrap()];
    let output = sandbox.run(&[&head[..], options, &["--", &python, script.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    file
}

fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("<script type=\"application/json\" class=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn a_recording_becomes_one_page_that_loads_nothing_and_escapes_everything() {
    let sandbox = Sandbox::new();
    let (file, page, svg) = (recorded(&sandbox, &[]), sandbox.path("r.html"), sandbox.path("r.svg"));
    let [file, page_name, svg_name] = [&file, &page, &svg].map(|path| path.to_str().unwrap());
    let output = sandbox.run(&["report", file, "-o", page_name, "--svg", svg_name]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("default-src &#39;none&#39;") || text.contains("default-src 'none'"));
    assert!(
        !text.contains("http://")
            || text.matches("http://").count() == text.matches("http://www.w3.org/2000/svg").count()
    );
    assert!(!text.contains("https://") && !text.contains("<b>&.py"), "something from outside is not escaped");
    assert!(text.contains("&#60;b&#62;&#38;.py") && text.contains("Worst stalls"));
    let data = data(&text);
    let lanes = data["lanes"].as_array().unwrap();
    assert_eq!(lanes.len(), 2);
    assert!(lanes.iter().all(|lane| lane["overview"].is_null() && lane["exact"].as_array().unwrap().len() == 1));
    // The flame graph names the function, since its holds are most of the time that the GIL was held.
    assert!(text.contains("class=\"flame\"") && text.contains(" hold: held the GIL for "));
    // An embedded picture, and the same as a file.
    let picture = fs::read_to_string(&svg).unwrap();
    assert!(
        picture.starts_with("<svg ") && picture.contains("class=\"holds\"") && text.contains("class=\"holds\" d=\"M")
    );
}

#[test]
fn the_ending_html_makes_record_write_the_page_itself() {
    let sandbox = Sandbox::new();
    let (page, earlier) = (sandbox.path("r.html"), sandbox.path("r.busy"));
    fs::write(&earlier, "an earlier recording").unwrap();
    let python = real_python();
    let output = sandbox.run(&["record", "-o", page.to_str().unwrap(), "--", &python, "-c", "import json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(fs::read_to_string(&page).unwrap().contains("Threads over time"));
    // The recording was only wanted for the page.
    let names = fs::read_dir(page.parent().unwrap()).unwrap().flatten().map(|entry| entry.path());
    assert!(names.filter(|name| name.extension().is_some_and(|end| end == "busy")).eq([earlier.clone()]));
    assert_eq!(fs::read_to_string(earlier).unwrap(), "an earlier recording");
}

#[test]
fn the_json_of_a_recording_becomes_a_page_without_a_picture() {
    let sandbox = Sandbox::new();
    let (json, page) = (sandbox.path("r.json"), sandbox.path("r.html"));
    recorded(&sandbox, &["--json", json.to_str().unwrap()]);
    let output = sandbox.run(&["report", json.to_str().unwrap(), "-o", page.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("Worst stalls") && !text.contains("<canvas"));
}

#[test]
fn what_is_no_result_is_refused_and_leaves_an_earlier_page_whole() {
    let sandbox = Sandbox::new();
    let (page, wrong) = (sandbox.path("r.html"), sandbox.path("wrong"));
    fs::write(&page, "earlier").unwrap();
    let refused = |content: &[u8], options: &[&str], reason: &str| {
        fs::write(&wrong, content).unwrap();
        let head = ["report", wrong.to_str().unwrap(), "-o", page.to_str().unwrap()];
        let output = sandbox.run(&[&head[..], options].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(stderr(&output).contains(reason), "{output:?}");
        assert_eq!(fs::read_to_string(&page).unwrap(), "earlier");
    };
    refused(b"[]", &[], "is not a file of results");
    // Of a recording that was cut off right at its start.
    refused(b"", &[], "without a whole block");
    refused(b"busy recor", &[], "without a whole block");
    refused(b"<!DOCTYPE html>\n<title>r</title>", &[], "is a page, to be opened in a browser");
    refused(b"{\"schema\": 99, \"results\": []}", &[], "schema 99");
    refused(b"{\"schema\": 1, \"results\": [{\"kind\": \"poem\"}]}", &[], "poem");
    refused(b"busy recording\x09\n", &[], "not a recording of this version");
    refused(b"busy recording\x01\n", &[], "without a whole block");
    let recording = fs::read(recorded(&sandbox, &[])).unwrap();
    refused(&recording, &["--from", "1h"], "--from and --to");
    let output = sandbox.run(&["report", "/nowhere/r.busy", "-o", page.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_recording_is_shown_as_it_was_at_its_end() {
    let sandbox = Sandbox::new();
    let (script, file, before) = (sandbox.path("p.py"), sandbox.path("r.busy"), sandbox.path("before.json"));
    fs::write(&script, PROGRAM).unwrap();
    let [script, file, json] = [&script, &file, &before].map(|path| path.to_str().unwrap());
    let recorded = sandbox.run(&["record", "-o", file, "--json", json, "--", &real_python(), script]);
    assert_eq!(recorded.status.code(), Some(0), "{recorded:?}");
    let shown = sandbox.run(&["report", file]);
    assert_eq!((shown.status.code(), stdout(&shown)), (Some(0), stderr(&recorded)), "{shown:?}");
    let of_json = sandbox.run(&["report", json]);
    assert!(stdout(&of_json).contains(" held "), "{of_json:?}");
    let results = |text: &str| serde_json::from_str::<Value>(text).unwrap()["results"].clone();
    let again = sandbox.run(&["report", file, "--json", "-"]);
    assert_eq!(results(&stdout(&again)), results(&fs::read_to_string(&before).unwrap()));
}

#[test]
fn damage_is_reported_and_differs_from_a_killed_recorder() {
    let sandbox = Sandbox::new();
    let (file, page) = (recorded(&sandbox, &[]), sandbox.path("r.html"));
    let whole = fs::read(&file).unwrap();
    let report = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        let output = sandbox.run(&["report", file.to_str().unwrap(), "-o", page.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        (stderr(&output), fs::read_to_string(&page).unwrap())
    };
    let mut damaged = whole.clone();
    // Within the last block's checksum, so that all others are shown.
    let last = whole.len() - 20;
    damaged[last] ^= 1;
    let (note, text) = report(&damaged);
    let expected = format!("busy: {} is damaged at byte ", file.display());
    assert!(note.starts_with(&expected) && note.ends_with(" bytes after it are not shown\n"), "{note}");
    assert!(text.contains("events: the file is damaged at byte ") && !text.contains("NaN"), "{text}");
    let is_cut_off =
        |note: &str| note.starts_with(&format!("busy: {} ends at ", file.display())) && note.contains("killed");
    let (note, text) = report(&whole[..whole.len() - 3]);
    assert!(is_cut_off(&note) && !text.contains("damaged"), "{note}");
    // Without figures, nothing is zero percent.
    let (note, text) = report(&whole[..whole.len() / 4]);
    assert!(is_cut_off(&note) && !text.contains("NaN"), "{note}");
    let (note, _) = report(&whole);
    assert!(note.is_empty(), "{note}");
}

#[test]
fn each_stall_has_its_mark_also_if_its_holder_has_no_lane() {
    let sandbox = Sandbox::new();
    let (file, page) = (sandbox.path("r.busy"), sandbox.path("r.html"));
    let mut bytes = large(2100, 30);
    let (name, ms) = ("rare".into(), 1_000_000);
    let thread = Thread { process: 0, row: 5000, tid: 5000, gil: 0, name, runs: None, ended_ns: None };
    let stall = |holder: u64, at: u64, lost: u64| {
        Block::Stall(Stall {
            process: 0,
            holder,
            at_ns: at * ms,
            end_ns: (at + 20) * ms,
            held_ns: 20 * ms,
            lost_ns: lost * ms,
            waiters: vec![2],
            waiter_stacks: BTreeMap::new(),
            stack: None,
            cause: None,
        })
    };
    for block in [Block::Thread(thread), stall(5000, 1, 30), stall(1, 40, 20)] {
        block.append(&mut bytes);
    }
    fs::write(&file, bytes).unwrap();
    let output = sandbox.run(&["report", file.to_str().unwrap(), "-o", page.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = fs::read_to_string(&page).unwrap();
    let data = data(&text);
    let stalls = data["stalls"].as_array().unwrap();
    assert_eq!((data["lanes"].as_array().unwrap().len(), stalls.len()), (2000, text.matches("class=\"go\"").count()));
    // The row of each has the button that shows it.
    assert!(stalls[0]["holder"].is_null() && stalls[1]["holder"].is_u64(), "{stalls:?}");
    assert!(text.find("rare 5000").unwrap() < text.find("worker-1 101</td>").unwrap());
}

#[test]
fn control_characters_in_the_name_of_a_thread_are_shown() {
    let sandbox = Sandbox::new();
    // The kernel names a thread as the file that it executes.
    let [python, file, page, svg] = ["a\u{1}b\nc<", "r.busy", "r.html", "r.svg"].map(|name| sandbox.path(name));
    std::os::unix::fs::symlink(real_python(), &python).unwrap();
    let [python, file_name, page_name, svg_name] = [&python, &file, &page, &svg].map(|path| path.to_str().unwrap());
    let output = sandbox.run(&["record", "-o", file_name, "--", python, "-c", "sum(range(10**6))"]);
    assert!(stderr(&output).contains("a\\x01b c<"), "{}", stderr(&output));
    let output = sandbox.run(&["report", file_name, "-o", page_name, "--svg", svg_name]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for (path, name) in [(&page, "a\\x01b c&#60;"), (&svg, "a\\x01b c&#60;")] {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(name) && !text.contains('\u{1}'), "{text}");
    }
}

#[test]
fn an_output_never_overwrites_an_input_or_another_output() {
    let sandbox = Sandbox::new();
    let json = sandbox.path("r.json");
    let file = recorded(&sandbox, &["--json", json.to_str().unwrap()]);
    let (recording, results) = (fs::read(&file).unwrap(), fs::read(&json).unwrap());
    let new = sandbox.path("new");
    std::os::unix::fs::symlink("new", sandbox.path("link")).unwrap();
    // The kind of a file is known from its content.
    std::os::unix::fs::symlink("r.busy", sandbox.path("r.html")).unwrap();
    std::os::unix::fs::symlink("r.json", sandbox.path("r.svg")).unwrap();
    for (arguments, part) in [
        (&["r.busy", "-o", "r.html"][..], "r.html is named as an input and as an output"),
        (&["r.html", "r.json", "-o", "./r.html"], "r.html is named as an input and as an output"),
        (&["r.busy", "r.json", "--svg", "r.svg"], "r.svg is named as an input and as an output"),
        (&["r.json", "-o", "r.busy"], "expected a name that ends in .html (the page)"),
        (&["r.busy", "--svg", "r.json"], "expected a name that ends in .svg"),
        (&["r.busy", "-o", "new", "--svg", "new"], "new is named for two outputs"),
        (&["r.busy", "-o", "new", "--svg", "link"], "link is named for two outputs"),
        (&["r.busy", "-o", "-"], "-o expects the name of a file, found -"),
        (&["r.busy", "--svg", "-"], "--svg expects the name of a file, found -"),
        (&["r.json", "-o", "new", "--from", "1s"], "expected a recording (FILE.busy) among the files"),
    ] {
        let mut busy = sandbox.command(&[&["report"], arguments].concat());
        let output = busy.current_dir(sandbox.home.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(stderr(&output).contains(part), "{output:?}");
        assert!(!new.exists() && !sandbox.path("-").exists(), "{output:?}");
        assert_eq!((fs::read(&file).unwrap(), fs::read(&json).unwrap()), (recording.clone(), results.clone()));
    }
    let output = sandbox.run(&["report", file.to_str().unwrap(), "-o", "/dev/null", "--svg", "/dev/null"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Returns the bytes of a recording of so many threads, with so many events each, in which the GIL goes round.
fn large(threads: u64, events: u64) -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    let mut add = |block: Block| block.append(&mut bytes);
    let (busy, started_at, command) = ("0".into(), "2026-01-01T00:00:00Z".into(), vec!["large".to_owned()]);
    add(Block::Start(Start { busy, started_at, monotonic_ns: 0, command, stall_ns: 10_000_000 }));
    let (executable, python) = ("python3".into(), "3.11.7".into());
    add(Block::Process(Process { number: 0, pid: 1, parent: 0, executable, python }));
    let mut random = fastrand::Rng::with_seed(7);
    for row in 0..threads {
        let (tid, name) = (100 + row as u32, format!("worker-{row}"));
        add(Block::Thread(Thread { process: 0, row, tid, gil: 0, name, runs: None, ended_ns: None }));
        let mut at = row * 1000;
        let mut list = Vec::new();
        while (list.len() as u64) < events {
            let (wait, hold) = (random.u64(..400_000), random.u64(..100_000));
            for (kind, after) in
                [(Kind::WaitBegan, random.u64(..400_000)), (Kind::Acquired, wait), (Kind::Released, hold)]
            {
                at += after;
                list.push(Event { kind, at });
            }
        }
        add(Block::Events { process: 0, row, events: list });
    }
    bytes
}

#[test]
fn the_page_of_ten_million_events_is_small() {
    let sandbox = Sandbox::new();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("large.busy");
    fs::write(&file, large(1000, 10_000)).unwrap();
    let page = file.with_extension("html");
    let output = sandbox.run(&["report", file.to_str().unwrap(), "-o", page.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let length = fs::metadata(&page).unwrap().len();
    assert!((100_000..1_500_000).contains(&length), "{length} bytes");
}

#[test]
fn checks_become_a_table_with_what_was_expected_and_their_place() {
    let sandbox = Sandbox::new();
    let (json, page) = (sandbox.path("c.json"), sandbox.path("c.html"));
    let [json, page_name] = [&json, &page].map(|path| path.to_str().unwrap());
    let python = real_python();
    let statement = "a < b or time.sleep(0.01)";
    sandbox.run(&[
        "check",
        "-s",
        "import time; a = b = 1",
        statement,
        "-p",
        &python,
        "--expect",
        "holds",
        "--json",
        json,
    ]);
    let result = &crate::harness::json(Path::new(json))["results"][0];
    let output = sandbox.run(&["report", json, "-o", page_name]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = fs::read_to_string(&page).unwrap();
    // On a loaded machine, the verdict may be another one.
    let found = result["verdict"].as_str().unwrap();
    for part in ["a &#60; b or time.sleep(0.01)", "<td>holds</td>", found, &python, "<dt>machine</dt>"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
