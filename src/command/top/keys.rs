//! What each key does.

use crate::show::live::{Question, Sort, View};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What is to be done beside showing the view anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing more.
    Show,
    /// The same, with the threads sorted anew.
    Sort,
    /// The same, with everything drawn anew.
    Redraw,
    /// Leave; the process goes on.
    Leave,
    /// End the program.
    Terminate,
    /// Kill the program.
    Kill,
    /// Interrupt the program as Ctrl-C does, or leave if there is none.
    Interrupt,
    /// Stop this command and the program until they are continued, as Ctrl-Z does.
    Stop,
}

/// Changes the view according to the key. `rows` is the number of rows of the table.
pub fn press(view: &mut View, key: KeyEvent, rows: usize, is_terminated: bool) -> Action {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Action::Interrupt,
            KeyCode::Char('z') => Action::Stop,
            KeyCode::Char('l') => Action::Redraw,
            _ => Action::Show,
        };
    }
    if let Some(question) = view.question.take() {
        return match (key.code, question) {
            (KeyCode::Char('q'), Question::Terminate) => Action::Terminate,
            (KeyCode::Char('q'), Question::Kill) => Action::Kill,
            _ => Action::Show,
        };
    }
    let page = rows.max(1);
    match key.code {
        KeyCode::Char('q') if view.output.is_none() => return Action::Leave,
        KeyCode::Char('q') => {
            view.question = Some(if is_terminated { Question::Kill } else { Question::Terminate });
        }
        KeyCode::Char('c') => return sort(view, Sort::Cpu),
        KeyCode::Char('h') => return sort(view, Sort::Held),
        KeyCode::Char('w') => return sort(view, Sort::Waiting),
        KeyCode::Char('s') => return sort(view, Sort::Stall),
        KeyCode::Char('n') => return sort(view, Sort::Name),
        KeyCode::Char(' ') => view.is_paused = !view.is_paused,
        KeyCode::Char('?') => view.has_help = !view.has_help,
        KeyCode::Esc => view.has_help = false,
        KeyCode::Up => view.scroll = view.scroll.saturating_sub(1),
        KeyCode::Down => view.scroll = view.scroll.saturating_add(1),
        KeyCode::PageUp => view.scroll = view.scroll.saturating_sub(page),
        KeyCode::PageDown => view.scroll = view.scroll.saturating_add(page),
        KeyCode::Home => view.scroll = 0,
        KeyCode::End => view.scroll = usize::MAX,
        _ => {}
    }
    Action::Show
}

fn sort(view: &mut View, sort: Sort) -> Action {
    (view.sort, view.scroll) = (sort, 0);
    Action::Sort
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(view: &mut View, keys: &str, is_terminated: bool) -> Action {
        let press = |key| press(view, KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE), 10, is_terminated);
        keys.chars().map(press).last().unwrap()
    }

    #[test]
    fn q_leaves_a_process_and_asks_before_it_ends_a_program() {
        assert_eq!(plain(&mut View::default(), "q", false), Action::Leave);
        let program = || View { output: Some(String::new()), ..View::default() };
        assert_eq!(plain(&mut program(), "q", false), Action::Show);
        assert_eq!(plain(&mut program(), "qq", false), Action::Terminate);
        assert_eq!(plain(&mut program(), "qq", true), Action::Kill);
        let mut view = program();
        assert_eq!(plain(&mut view, "qn", false), Action::Show);
        assert_eq!((view.question, view.sort), (None, Sort::Held));
    }

    #[test]
    fn keys_sort_scroll_pause_and_help() {
        let mut view = View::default();
        for (keys, sort) in
            [("c", Sort::Cpu), ("h", Sort::Held), ("w", Sort::Waiting), ("s", Sort::Stall), ("n", Sort::Name)]
        {
            assert_eq!((plain(&mut view, keys, false), view.sort), (Action::Sort, sort));
        }
        plain(&mut view, " ?", false);
        assert!(view.is_paused && view.has_help);
        let code = |view: &mut View, code| press(view, KeyEvent::new(code, KeyModifiers::NONE), 10, false);
        for (key, scroll) in [
            (KeyCode::Down, 1),
            (KeyCode::PageDown, 11),
            (KeyCode::Up, 10),
            (KeyCode::PageUp, 0),
            (KeyCode::Up, 0),
            (KeyCode::End, usize::MAX),
            (KeyCode::Home, 0),
        ] {
            code(&mut view, key);
            assert_eq!(view.scroll, scroll, "{key:?}");
        }
        code(&mut view, KeyCode::Esc);
        assert!(!view.has_help);
        let control = |letter| {
            press(&mut View::default(), KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL), 10, false)
        };
        assert_eq!(['c', 'z', 'l', 'q'].map(control), [Action::Interrupt, Action::Stop, Action::Redraw, Action::Show]);
    }
}
