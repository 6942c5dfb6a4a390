use super::*;
use crate::show::live::{Core, Sort, Thread, Wait};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::rc::Rc;

fn drawn(state: &State, view: &View, width: u16, height: u16) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| _ = draw(frame, state, view)).unwrap();
    terminal.backend().clone()
}

fn text(state: &State, view: &View, width: u16, height: u16) -> String {
    drawn(state, view, width, height).to_string()
}

fn thread(tid: u32, name: &str, figures: [f64; 3]) -> Thread {
    let [cpu, held, waiting] = figures.map(Some);
    Thread { pid: 1234, tid, name: name.into(), cpu, held, waiting, ..Thread::default() }
}

fn exact() -> State {
    let stall = |length_s, goes_on| Some(Wait { length_s, goes_on });
    let frames = ["/usr/lib/python3.11/json/encoder.py:258 JSONEncoder.iterencode", "/home/me/app.py:41 dump"];
    let held: Rc<[String]> = frames.map(str::to_owned).into();
    let blamed = |stall| Thread { stall, stack: held.clone(), ..Thread::default() };
    let mut threads = vec![
        thread(1234, "python3", [0.981, 0.962, 0.001]),
        Thread { stall: stall(0.312, false), stack: held.clone(), ..thread(1236, "worker", [0.003, 0.002, 0.45]) },
        Thread { ..blamed(stall(2.1, true)) },
        Thread { held: None, waiting: None, ..thread(1238, "OpenBLAS", [0.5, 0.0, 0.0]) },
    ];
    threads[2] = Thread { pid: 1234, tid: 1237, name: "evil\x1b[31m\nname \u{202e}".into(), ..threads[2].clone() };
    (threads[2].cpu, threads[2].held, threads[2].waiting) = (Some(0.0), Some(0.0), Some(0.999));
    let stall = |held_s: f64, goes_on, stack: &[&str]| Stall {
        held_s,
        goes_on,
        pid: 1234,
        holder: 1234,
        waiters: 2,
        lost_s: 2.0 * held_s,
        stack: stack.iter().map(|frame| (*frame).to_owned()).collect(),
    };
    State {
        meter: Meter::Exact,
        subject: "python3 app.py".into(),
        elapsed_s: 12.34,
        cores: vec![Core { number: 0, busy: 0.99 }, Core { number: 1, busy: 0.31 }],
        processes: vec![Process { pid: 1234, version: "3.11.7".into(), held: Some(0.964), reason: None }],
        threads,
        stalls: Some(vec![stall(2.1, true, &frames), stall(0.312, false, &[])]),
        threshold_s: 0.02,
    }
}

fn samples() -> State {
    let mut state = exact();
    state.threads.iter_mut().for_each(|thread| thread.stall = None);
    State { meter: Meter::Samples(200), stalls: None, subject: "process 1234".into(), ..state }
}

#[test]
fn threads_with_their_stalls_are_shown_on_80_columns() {
    insta::assert_snapshot!(text(&exact(), &View::default(), 80, 24));
}

#[test]
fn a_narrow_screen_leaves_out_ids_and_calls() {
    insta::assert_snapshot!(text(&exact(), &View { sort: Sort::Waiting, ..View::default() }, 40, 12));
}

#[test]
fn without_stalls_and_stacks_their_places_are_empty() {
    let mut state = exact();
    state.stalls = Some(Vec::new());
    state.threads.iter_mut().for_each(|thread| (thread.stall, thread.stack) = (None, Rc::default()));
    insta::assert_snapshot!(text(&state, &View { is_paused: true, ..View::default() }, 80, 18));
}

#[test]
fn samples_are_labelled_as_such() {
    insta::assert_snapshot!(text(&samples(), &View::default(), 80, 12));
}

#[test]
fn the_help_names_the_keys_and_what_q_does() {
    let program = View { has_help: true, output: Some("to out.txt".into()), ..View::default() };
    insta::assert_snapshot!("help_of_a_program", text(&exact(), &program, 80, 24));
    let process = View { has_help: true, ..View::default() };
    insta::assert_snapshot!("help_of_a_process", text(&samples(), &process, 80, 24));
}

#[test]
fn many_threads_scroll_and_several_processes_have_a_column() {
    let mut state = exact();
    state.processes.push(Process { pid: 99, reason: Some("it has no GIL".into()), ..Process::default() });
    state.processes.push(Process { pid: 4711, version: "3.12.1".into(), held: Some(0.5), reason: None });
    state.threads = (0..500).map(|tid| thread(tid, &format!("worker {tid}"), [0.1, 0.0, 0.9])).collect();
    let view = View { scroll: 250, question: Some(Question::Terminate), ..View::default() };
    insta::assert_snapshot!(text(&state, &view, 80, 20));
    let last = text(&state, &View { scroll: usize::MAX, ..View::default() }, 80, 20);
    assert!(last.contains("worker 499") && last.contains("-500 of 500"), "{last}");
}

#[test]
fn any_size_of_the_screen_is_drawn() {
    for width in [0, 1, 2, 7, 49, 50, 65, 66, 300] {
        for height in [0, 1, 2, 5, 15, 16, 100] {
            for state in [exact(), samples()] {
                drawn(&state, &View::default(), width, height);
                drawn(&state, &View { has_help: true, output: Some(String::new()), ..View::default() }, width, height);
            }
        }
    }
}

#[test]
fn lines_of_text_have_the_same_figures() {
    insta::assert_snapshot!([crate::show::live::lines(&exact()), crate::show::live::lines(&samples())].concat());
}
