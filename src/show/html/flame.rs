//! The flame graph of what held the GIL: each function as wide as its time, below the one that called it.

use crate::show::one_line;
use crate::show::stalls::is_library;
use crate::trace::Node;
use crate::units::duration;
use askama::Template;

/// The sizes of the picture, in its units.
const WIDTH: f64 = 1200.0;
/// See `WIDTH`.
const ROW: usize = 17;
/// The width of a letter of the labels.
const LETTER: f64 = 6.7;
/// A function with a smaller share than this is left out.
const SMALLEST: f64 = 0.005;
/// The number of functions below each other, beside the thread.
const DEPTH: usize = 40;

#[derive(Template)]
#[template(path = "flame.svg")]
struct Flame {
    height: usize,
    boxes: Vec<FlameBox>,
}

struct FlameBox {
    x: String,
    y: usize,
    width: String,
    class: &'static str,
    title: String,
    label: String,
    label_y: usize,
}

/// Returns the graph; empty if nothing was sampled.
pub(super) fn svg(root: &Node) -> String {
    // The times may be unknown although there are samples: if the recorder was killed before it read any.
    if root.held_s <= 0.0 || root.calls.iter().all(|thread| thread.calls.is_empty()) {
        return String::new();
    }
    let mut boxes = Vec::new();
    let mut x = 0.0;
    for thread in &root.calls {
        place(thread, root.held_s, x, 0, &mut boxes);
        x += WIDTH * thread.held_s / root.held_s;
    }
    let height = boxes.iter().map(|one| one.y + ROW).max().unwrap_or(0);
    Flame { height, boxes }.render().expect("writing to a string")
}

fn place(node: &Node, all_s: f64, x: f64, depth: usize, boxes: &mut Vec<FlameBox>) {
    let share = node.held_s / all_s;
    if share < SMALLEST || depth > DEPTH {
        return;
    }
    let width = WIDTH * share;
    let name = one_line(&node.name);
    let (file, function) = name.rsplit_once(' ').unwrap_or(("", &name));
    // A thread is named as a whole.
    let shown = if depth == 0 { name.as_str() } else { function };
    let letters = ((width - 6.0) / LETTER).max(0.0) as usize;
    let label = match shown.chars().count() {
        count if count <= letters => shown.to_owned(),
        _ if letters < 3 => String::new(),
        _ => format!("{}\u{2026}", shown.chars().take(letters - 1).collect::<String>()),
    };
    let is_library = is_library(file);
    boxes.push(FlameBox {
        x: format!("{x:.1}"),
        y: depth * ROW,
        // A gap to the next one.
        width: format!("{:.1}", (width - 0.7).max(0.3)),
        class: match (depth, is_library) {
            (0, _) => "thread",
            (_, true) => "library",
            (_, false) => "own",
        },
        title: format!(
            "{}: held the GIL for {} ({:.1} %), {} of it itself",
            name,
            duration(node.held_s),
            100.0 * share,
            duration(node.own_s().max(0.0))
        ),
        label,
        label_y: depth * ROW + ROW - 5,
    });
    let mut x = x;
    for call in &node.calls {
        place(call, all_s, x, depth + 1, boxes);
        x += WIDTH * call.held_s / all_s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, held_s: f64, calls: Vec<Node>) -> Node {
        Node { name: name.into(), held_s, calls }
    }

    #[test]
    fn a_function_of_the_library_differs_from_one_of_the_user() {
        let calls = vec![node("/usr/lib64/python3.13/json/encoder.py iterencode", 1.0, Vec::new())];
        let own = node("/home/me/app.py dump\u{7}", 1.0, calls);
        let graph = svg(&node("", 1.0, vec![node("main 7", 1.0, vec![own])]));
        assert_eq!(["library", "own"].map(|class| graph.matches(&format!("\"{class}\"")).count()), [1, 1], "{graph}");
        assert!(!graph.contains('\u{7}'));
    }

    #[test]
    fn without_a_time_nothing_is_drawn() {
        assert_eq!(svg(&node("", 0.0, vec![node("main 7", 0.0, vec![node("a.py f", 0.0, Vec::new())])])), "");
    }
}
