//! A Python stack as text.

use busy_gil::remote::{Frame, Stack};

/// What takes the place of the outer frames of a stack with more than `StackReader::MOST_FRAMES`.
const OUTER_FRAMES: &str = "(outer frames left out)";

/// Returns a line for each frame of a stack, `file:line function`, the innermost first.
pub fn stack_lines(stack: &Stack) -> impl Iterator<Item = String> {
    let line = |frame: &Frame| {
        let line = frame.line.map_or_else(|| "?".into(), |line| line.to_string());
        format!("{}:{line} {}", frame.file, frame.function)
    };
    let cut = (stack.cut > 0).then(|| OUTER_FRAMES.to_owned());
    stack.frames.iter().map(line).chain(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_whose_outer_frames_are_missing_says_so() {
        let frame = Frame { file: "a.py".into(), function: "f".into(), line: Some(3) };
        let stack = |cut| Stack { frames: vec![frame.clone()], cut, moved: false };
        assert_eq!(stack_lines(&stack(0)).collect::<Vec<_>>(), ["a.py:3 f"]);
        assert_eq!(stack_lines(&stack(9)).collect::<Vec<_>>(), ["a.py:3 f", OUTER_FRAMES]);
    }
}
