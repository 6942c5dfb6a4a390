//! The layouts of CPython 3.13 to 3.15, from struct _Py_DebugOffsets at the beginning of `_PyRuntime`
//! (Include/internal/pycore_runtime.h; 3.14 on: pycore_debug_offsets.h).

use super::layout::{
    CodeLayout, FrameKind, FrameLayout, InterpreterLayout, LENGTH, Layout, LineFormat, OBJECT_TYPE, TEXT_STATE,
    TYPE_NAME, Text, ThreadLayout,
};

/// The number of words that contain all members used.
pub(super) const WORDS: usize = 96;

/// The words at which the groups of members begin. Each begins with the size of its struct. The groups of
/// `runtime_state` and `interpreter_state` begin at words 3 and 6.
struct Groups {
    thread: usize,
    /// The word of `thread_state.datastack_chunk`, the only member used whose place in its group depends on the
    /// version.
    chunk: usize,
    frame: usize,
    code: usize,
    object: usize,
    /// `type_object`.
    r#type: usize,
    bytes: usize,
    unicode: usize,
}

impl Groups {
    const fn of(minor: u8) -> Option<Self> {
        Some(match minor {
            13 => Self { thread: 19, chunk: 26, frame: 28, code: 34, object: 44, r#type: 46, bytes: 64, unicode: 67 },
            14 => Self { thread: 22, chunk: 29, frame: 31, code: 39, object: 50, r#type: 52, bytes: 74, unicode: 77 },
            15 => Self { thread: 22, chunk: 32, frame: 39, code: 47, object: 58, r#type: 60, bytes: 86, unicode: 89 },
            _ => return None,
        })
    }
}

/// Returns the layout of CPython 3.`minor` with a GIL, whose cookie and version were checked.
///
/// # Errors
/// A text with the expected and the found value.
pub(super) fn parse(words: &[u64; WORDS], minor: u8) -> Result<Layout, String> {
    let groups = Groups::of(minor).ok_or_else(|| format!("expected 3.13 to 3.15, found 3.{minor}"))?;
    let group = |start: usize| Group { words, start };
    let (interpreter, thread, frame) = (group(6), group(groups.thread), group(groups.frame));
    let (code, object, kind) = (group(groups.code), group(groups.object), group(groups.r#type));
    let (bytes, unicode) = (group(groups.bytes), group(groups.unicode));
    for (name, expected, found) in [
        ("ob_type", OBJECT_TYPE, object.field(1)?),
        ("tp_name", TYPE_NAME, kind.field(1)?),
        ("ob_size of bytes", LENGTH, bytes.field(1)?),
        ("state of a text", TEXT_STATE, unicode.field(1)?),
        ("length of a text", LENGTH, unicode.field(2)?),
    ] {
        if expected != found {
            return Err(format!("expected {name} at {expected}, found {found}"));
        }
    }
    // The size of a PyASCIIObject is a size, not an offset in the group's struct.
    let ascii = words[groups.unicode + 3];
    let bytecode = code.field(9)?;
    let line_table = code.field(4)?;
    // `layout.rs` and `code.rs` compute with these.
    if !(TEXT_STATE..256).contains(&ascii) || !(16..4096).contains(&bytecode) || !(16..4096).contains(&line_table) {
        return Err(format!(
            "expected plausible sizes, found {ascii} for PyASCIIObject, {bytecode} and {line_table} for a code object"
        ));
    }
    Ok(Layout {
        interpreter: InterpreterLayout {
            head: Some(group(3).field(2)?),
            next: interpreter.field(2)?,
            id: Some(interpreter.field(1)?),
            threads: interpreter.field(3)?,
        },
        thread: ThreadLayout {
            next: thread.field(2)?,
            interpreter: thread.field(3)?,
            frame: thread.field(4)?,
            cframe: None,
            chunk: Some(thread.field(groups.chunk - groups.thread)?),
        },
        frame: FrameLayout {
            previous: frame.field(1)?,
            code: frame.field(2)?,
            instruction: frame.field(3)?,
            // Py_TAG_BITS in Include/internal/pycore_stackref.h; pointers are aligned to more than that.
            kind: FrameKind::Interpreter { owner: frame.field(5)?, tag: if minor >= 14 { 3 } else { 0 } },
        },
        code: CodeLayout {
            file: code.field(1)?,
            function: code.field(3)?,
            line_table,
            first_line: code.field(5)?,
            flags: None,
            lines: LineFormat::Locations,
            bytecode: Some(bytecode),
            warmup: None,
        },
        // A PyCompactUnicodeObject has a length and a pointer more (Include/cpython/unicodeobject.h).
        text: Text::Unicode { ascii, compact: ascii + 16 },
        bytes_data: bytes.field(2)?,
    })
}

/// The members that describe one struct.
struct Group<'words> {
    words: &'words [u64; WORDS],
    start: usize,
}

impl Group<'_> {
    /// Returns the offset in the member `index`. It must lie inside the struct: in a build with other members than this
    /// version's, most words would not.
    fn field(&self, index: usize) -> Result<u64, String> {
        /// No struct used is larger: an interpreter has some 250 kB.
        const LARGEST: u64 = 16 << 20;
        let (size, offset) = (self.words[self.start], self.words[self.start + index]);
        if size <= LARGEST && offset < size {
            return Ok(offset);
        }
        let word = self.start + index;
        Err(format!("expected an offset below {size} in word {word} of the debug offsets, found {offset}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_outside_of_their_structs_are_refused() {
        // The words of CPython 3.13.0, by group: each group's size, then its members.
        let mut words = [0; WORDS];
        let mut set = |start: usize, group: &[u64]| words[start..start + group.len()].copy_from_slice(group);
        set(3, &[1 << 19, 600, 632]);
        set(6, &[1 << 18, 7272, 7264, 7344]);
        set(19, &[320, 0, 8, 16, 72, 136, 144, 232, 32]);
        set(28, &[88, 8, 0, 56, 72, 70]);
        set(34, &[208, 112, 120, 128, 136, 68, 52, 96, 104, 200]);
        set(44, &[16, 8, 416, 24]);
        set(64, &[40, 16, 32, 64, 32, 16, 40]);
        let layout = parse(&words, 13).unwrap();
        assert_eq!((layout.thread.frame, layout.code.bytecode, layout.bytes_data), (72, Some(200), 32));
        // The same words are not those of another version.
        assert!(parse(&words, 14).is_err() && parse(&words, 15).is_err() && parse(&words, 16).is_err());
        for (word, wrong) in [(31, 88), (47, 8), (34, 1 << 40), (43, 8), (70, 1 << 20), (45, 16), (38, 0)] {
            let mut other = words;
            other[word] = wrong;
            let error = parse(&other, 13).unwrap_err();
            assert!(error.contains("expected") && error.contains("found"), "{error}");
        }
        let mut state = 1u64;
        for _ in 0..10_000 {
            let garbage = words.map(|word| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if state >> 60 == 0 { state } else { word }
            });
            let _ = [13, 14, 15]
                .map(|minor| parse(&garbage, minor).map(|layout| (layout.code.size(), layout.thread.top())));
        }
    }
}
