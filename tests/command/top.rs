//! `busy top`: what it shows, its keys, and the terminal that it leaves as it was.

use crate::harness::{BUSY, Sandbox, command_line, finish, real_python, signal, stderr, stdout, wait_for};
use crate::terminal::Terminal;
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Two threads wait while the main thread holds the GIL in native calls.
const PROGRAM: &str = r"
import ctypes, sys, threading, time
hold = ctypes.PyDLL(sys.argv[1]).busy_wait_ns
hold.argtypes = [ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p]
def wait():
    while True: time.sleep(0.001)
result = (ctypes.c_uint64 * 2)()
def planted():
    hold(60 * 1000000, None, ctypes.addressof(result))
for _ in range(2): threading.Thread(target=wait, daemon=True).start()
print('ready', flush=True)
end = time.time() + float(sys.argv[2])
try:
    while time.time() < end:
        planted()
        time.sleep(0.02)
except KeyboardInterrupt:
    print('interrupted')
    sys.exit(7)
print('done')
";

/// Writes the program, and returns the words that run it for that many seconds.
fn program(sandbox: &Sandbox, seconds: u32) -> Vec<String> {
    let script = sandbox.path("planted.py");
    fs::write(&script, PROGRAM).unwrap();
    let library = Path::new(BUSY).with_file_name("libbusy.so");
    let words = [real_python(), script.display().to_string(), library.display().to_string(), seconds.to_string()];
    words.to_vec()
}

/// Starts the program by itself, and waits until it runs.
fn running(sandbox: &Sandbox) -> Child {
    let words = program(sandbox, 60);
    let ready = sandbox.path("ready");
    let mut command = Command::new(&words[0]);
    let child = command.args(&words[1..]).stdout(fs::File::create(&ready).unwrap()).stderr(Stdio::null()).spawn();
    wait_for("the program", || fs::read_to_string(&ready).is_ok_and(|text| text.contains("ready")));
    child.unwrap()
}

fn end(mut child: Child) {
    assert!(child.try_wait().unwrap().is_none(), "the process must go on");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Returns the process id of the command itself in the sandbox.
fn command_pid(sandbox: &Sandbox) -> u32 {
    let is_top = |pid: &u32| command_line(*pid).get(1).is_some_and(|word| word == "top");
    sandbox.processes().into_iter().find(is_top).expect("busy top runs")
}

/// Runs `busy top` on the program in a terminal, and waits for the first stall.
fn on_screen(sandbox: &Sandbox, options: &str) -> Terminal {
    let terminal = Terminal::run(sandbox, &format!("$BUSY top {options} -- {}", program(sandbox, 60).join(" ")));
    terminal.wait_for("planted.py:9 planted");
    terminal
}

#[test]
fn keys_sort_pause_explain_and_scroll() {
    let sandbox = Sandbox::new();
    let mut terminal = on_screen(&sandbox, "");
    let text = terminal.text();
    for part in ["busy top  exact", "GIL held ", "held meanwhile by", "Worst stalls of 20 ms or more", "? help"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    for (key, column) in [("c", "cpu"), ("w", "waits"), ("s", "stall"), ("n", "thread"), ("h", "held")] {
        terminal.press(key);
        terminal.wait(column, |_| terminal.reversed() == column);
    }
    terminal.press("?");
    terminal.wait_for("interrupt the program (SIGINT)");
    terminal.press("?");
    terminal.wait_for("held meanwhile by");
    terminal.press(" ");
    terminal.wait_for("paused");
    let paused = terminal.text();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(terminal.text(), paused);
    terminal.press(" ");
    terminal.wait("the screen to go on", |text| text != paused && !text.contains("paused"));
    // Any other key than a second q goes back.
    terminal.press("q");
    terminal.wait_for("The program still runs.");
    terminal.press("x");
    terminal.wait("the question to disappear", |text| !text.contains("The program still runs."));
    terminal.press("q");
    terminal.wait_for("The program still runs.");
    terminal.press("q");
    let (code, written) = ended(terminal);
    assert_eq!(code, Some(143), "{written}");
    assert!(written.contains("ready") && written.contains("the program ended by signal 15"), "{written}");
    sandbox.assert_no_process_left("q");
}

/// Waits for the end, with the terminal as it was. Returns the exit code, and what was written after the screen.
fn ended(terminal: Terminal) -> (Option<i32>, String) {
    terminal.assert_restored();
    let (code, written) = terminal.end();
    let after = written.rsplit_once("\x1b[?1049l").expect("the screen was left").1.to_owned();
    (code, after)
}

#[test]
fn a_resized_screen_is_drawn_anew() {
    let sandbox = Sandbox::new();
    let mut terminal = on_screen(&sandbox, "");
    terminal.resize(120, 40);
    terminal.wait("the last line at line 40", |text| text.lines().nth(39).is_some_and(|line| line.contains("? help")));
    terminal.resize(40, 10);
    let is_narrow = |text: &str| {
        text.lines().nth(9).is_some_and(|line| line.contains("? help"))
            && text.contains("waits")
            && !text.contains("tid")
    };
    terminal.wait("a narrow screen", is_narrow);
    terminal.press("qq");
    assert_eq!(ended(terminal).0, Some(143));
}

#[test]
fn ctrl_c_and_signals_are_the_programs_and_its_end_is_shown() {
    for (number, code, output) in
        [(None, 7, "interrupted"), (Some(Signal::INT), 7, "interrupted"), (Some(Signal::TERM), 143, "ready")]
    {
        let sandbox = Sandbox::new();
        let mut terminal = on_screen(&sandbox, "");
        match number {
            Some(number) => signal(command_pid(&sandbox), number),
            None => terminal.press("\x03"),
        }
        let (found, written) = ended(terminal);
        assert_eq!(found, Some(code), "{number:?}: {written}");
        assert!(written.contains(output) && written.contains("the program ended"), "{number:?}: {written}");
        sandbox.assert_no_process_left("a signal");
    }
}

#[test]
fn a_program_that_ends_ends_the_screen_and_its_output_is_kept_or_printed() {
    let sandbox = Sandbox::new();
    let words = program(&sandbox, 2).join(" ");
    let (code, written) = ended(Terminal::run(&sandbox, &format!("$BUSY top -- {words}")));
    assert_eq!(code, Some(0), "{written}");
    assert!(
        written.contains("ready\r\ndone\r\n") && written.contains("the program ended with exit code 0"),
        "{written}"
    );
    let file = sandbox.path("out.txt");
    let (code, written) = ended(Terminal::run(&sandbox, &format!("$BUSY top -o {} -- {words}", file.display())));
    assert!(code == Some(0) && !written.contains("done"), "{written}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "ready\ndone\n");
}

#[test]
fn ctrl_z_stops_the_program_and_leaves_the_terminal_until_it_goes_on() {
    let sandbox = Sandbox::new();
    let script = format!("$BUSY top -- {}; echo st''opped; read key; fg", program(&sandbox, 60).join(" "));
    let mut terminal = Terminal::run(&sandbox, &script);
    terminal.wait_for("planted.py:9 planted");
    let program = *sandbox.processes().iter().max().unwrap();
    terminal.press("\x1a");
    terminal.wait_for("stopped");
    terminal.assert_restored();
    let state = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    };
    wait_for("the program to be stopped", || state(program) == Some('T'));
    terminal.press("\n");
    terminal.wait_for("? help");
    wait_for("the program to go on", || state(program) != Some('T'));
    terminal.press("\x03");
    assert_eq!(ended(terminal).0, Some(7));
}

#[test]
fn a_process_is_sampled_and_goes_on_after_the_screen() {
    for (keys, number, code) in
        [("q", None, 0), ("\x03", None, 0), ("", Some(Signal::TERM), 143), ("", Some(Signal::HUP), 129)]
    {
        let sandbox = Sandbox::new();
        let child = running(&sandbox);
        let mut terminal = Terminal::run(&sandbox, &format!("$BUSY top --pid {}", child.id()));
        terminal.wait_for("planted.py:9 planted");
        let text = terminal.text();
        assert!(text.contains("150 samples/s") && text.contains("last seen holding in"), "{text}");
        assert!(!text.contains("stall"), "{text}");
        match number {
            Some(number) => signal(command_pid(&sandbox), number),
            None => terminal.press(keys),
        }
        let (found, written) = ended(terminal);
        assert_eq!(found, Some(code), "{keys:?} {number:?}: {written}");
        end(child);
    }
}

#[test]
fn a_closed_terminal_ends_the_command() {
    let sandbox = Sandbox::new();
    let mut terminal = on_screen(&sandbox, "");
    terminal.close();
    sandbox.assert_no_process_left("the terminal was closed");
    let child = running(&sandbox);
    let mut terminal = Terminal::run(&sandbox, &format!("$BUSY top --pid {}", child.id()));
    terminal.wait_for("150 samples/s");
    terminal.close();
    let is_top = |pid: &u32| command_line(*pid).get(1).is_some_and(|word| word == "top");
    wait_for("the end of busy top", || !sandbox.processes().iter().any(is_top));
    end(child);
}

#[test]
fn without_a_terminal_lines_are_printed_once_a_second() {
    let sandbox = Sandbox::new();
    let mut arguments = vec!["top".to_owned(), "--".to_owned()];
    arguments.extend(program(&sandbox, 4));
    let output = sandbox.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // The program's own lines are among them.
    assert!(text.starts_with("ready\n") && text.ends_with("done\n"), "{text}");
    let reports = text.lines().filter(|line| line.contains(" s, exact; cores ")).count();
    assert!((2..=4).contains(&reports), "{text}");
    assert!(text.contains("  stall ") && text.contains(" planted.py:9 planted"), "{text}");
}

#[test]
fn lines_of_a_process_end_with_it() {
    let sandbox = Sandbox::new();
    let mut child = running(&sandbox);
    let top = sandbox.command(&["top", "--pid", &child.id().to_string()]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    child.kill().unwrap();
    child.wait().unwrap();
    let output = finish(top, Duration::from_secs(20));
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text.contains("150 samples/s") && text.contains("seen holding in planted.py:9 planted"), "{text}");
    assert!(stderr(&output).contains("has ended"), "{output:?}");
}

/// Starts `busy top` with its stdout closed after the first line, as by `| head -n 1`.
fn headed(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = sandbox.command(&[&["top"], arguments].concat());
    let mut top = command.stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(top.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    top
}

#[test]
fn a_closed_stdout_ends_the_lines_of_a_process() {
    let sandbox = Sandbox::new();
    let child = running(&sandbox);
    let top = headed(&sandbox, &["--pid", &child.id().to_string()]);
    let output = finish(top, Duration::from_secs(20));
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{output:?}");
    end(child);
}

#[test]
fn a_program_goes_on_although_stdout_is_closed() {
    let sandbox = Sandbox::new();
    let end = sandbox.path("end");
    let code = format!("import time; time.sleep(4); open({:?}, 'w'); raise SystemExit(5)", end.display());
    let output = finish(headed(&sandbox, &["--", &real_python(), "-c", &code]), Duration::from_secs(60));
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(5), ""), "{output:?}");
    assert!(end.exists());
}

#[test]
fn what_can_not_be_shown_fails_with_exit_code_2() {
    let sandbox = Sandbox::new();
    let output = |arguments: &[&str]| sandbox.run(&[&["top"], arguments].concat());
    for (arguments, part) in [
        (&[][..], "required"),
        (&["--pid", "1", "--", "true"], "cannot be used with"),
        (&["--pid", "4194305"], "there is no process 4194305"),
        (&["-o", "-", "--", "true"], "-o expects the name of a file, found -"),
        (&["-o", "/no/such/folder/out", "--", "true"], "can't write the program's output to /no/such/folder/out"),
    ] {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains(part), "{arguments:?}: {output:?}");
    }
    assert_eq!(output(&["--", "/no/such/program"]).status.code(), Some(127));
    assert!(stderr(&output(&["--", "true"])).contains("no CPython was seen: the program started none"));
    let python = &program(&sandbox, 1)[0];
    let short = output(&["--", "sh", "-c", &format!("{python} -c pass; sleep 1.2")]);
    assert!(!stderr(&short).contains("no CPython"), "{short:?}");
    // Longer than any clock counts: no wait is a stall.
    assert_eq!(output(&["--stall", "9999999999999999999s", "--", "true"]).status.code(), Some(0));
}
