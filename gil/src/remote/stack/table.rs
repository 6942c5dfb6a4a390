//! The layouts of CPython 2.7 and 3.6 to 3.12. They were made from each version's headers, with which the tests compare
//! them: Include/frameobject.h (3.9 on: cpython/frameobject.h; 3.11 on: internal/pycore_frame.h), Include/code.h (3.9
//! on: cpython/code.h), Include/pystate.h (3.8 on: cpython/pystate.h) and internal/pycore_interp.h (3.8:
//! pycore_pystate.h; 3.7: pystate.h).

use super::layout::{CodeLayout, FrameKind, FrameLayout, InterpreterLayout, Layout, LineFormat, Text, ThreadLayout};

/// Returns the layout of CPython `major`.`minor`, or `None` from 3.13 on and for unsupported versions.
pub(super) fn by_table(major: u8, minor: u8) -> Option<Layout> {
    match (major, minor) {
        (2, 7) => Some(Layout {
            thread: ThreadLayout { next: 0, interpreter: 8, frame: 16, ..THREAD },
            frame: FrameLayout { instruction: 120, ..OBJECT },
            code: CodeLayout {
                file: 80,
                function: 88,
                first_line: 96,
                flags: Some(28),
                line_table: 104,
                lines: LineFormat::Lnotab { signed: false },
                bytecode: None,
                warmup: None,
            },
            text: Text::Bytes,
            bytes_data: 36,
            ..until_3_10(INTERPRETER, THREAD, OBJECT, 0)
        }),
        (3, 6) => Some(until_3_10(INTERPRETER, THREAD, FrameLayout { instruction: 120, ..OBJECT }, 0)),
        (3, 7) => Some(until_3_10(with_list(24, 16), THREAD, OBJECT, 0)),
        (3, 8) => Some(until_3_10(with_list(32, 16), THREAD, OBJECT, 8)),
        (3, 9) => Some(until_3_10(with_list(32, 24), THREAD, OBJECT, 8)),
        (3, 10) => {
            let frame = FrameLayout { instruction: 96, kind: FrameKind::Object { unit: 2 }, ..OBJECT };
            let layout = until_3_10(with_list(32, 24), THREAD, frame, 8);
            Some(Layout { code: CodeLayout { lines: LineFormat::Ranges, ..layout.code }, ..layout })
        }
        (3, 11) => Some(Layout {
            interpreter: InterpreterLayout { threads: 16, ..with_list(40, 48) },
            thread: ThreadLayout { frame: 56, cframe: Some(8), chunk: Some(296), ..THREAD },
            frame: FrameLayout { previous: 48, code: 32, instruction: 56, kind: interpreter_frame(69) },
            code: CodeLayout { first_line: 72, bytecode: Some(184), warmup: Some(52), ..CODE_3_12 },
            text: Text::Unicode { ascii: 48, compact: 72 },
            bytes_data: 32,
        }),
        (3, 12) => Some(Layout {
            interpreter: InterpreterLayout { threads: 72, ..with_list(40, 8) },
            thread: ThreadLayout { frame: 56, cframe: Some(0), chunk: Some(232), ..THREAD },
            frame: FrameLayout { previous: 8, code: 0, instruction: 56, kind: interpreter_frame(70) },
            code: CODE_3_12,
            text: Text::Unicode { ascii: 40, compact: 56 },
            bytes_data: 32,
        }),
        _ => None,
    }
}

/// Returns the layout of 3.6 to 3.10. `more` is the size of the fields that 3.8 inserted before `co_filename`:
/// `co_posonlyargcount`.
const fn until_3_10(interpreter: InterpreterLayout, thread: ThreadLayout, frame: FrameLayout, more: u64) -> Layout {
    Layout {
        interpreter,
        thread,
        frame,
        code: CodeLayout {
            file: 96 + more,
            function: 104 + more,
            // An int: the other half of `more` is padding.
            first_line: 36 + more / 2,
            flags: Some(32 + more / 2),
            line_table: 112 + more,
            lines: LineFormat::Lnotab { signed: true },
            bytecode: None,
            warmup: None,
        },
        text: Text::Unicode { ascii: 48, compact: 72 },
        bytes_data: 32,
    }
}

/// The fields of an interpreter up to 3.6. The next ones have the same, and an id.
const INTERPRETER: InterpreterLayout = InterpreterLayout { head: None, next: 0, id: None, threads: 8 };

const fn with_list(head: u64, id: u64) -> InterpreterLayout {
    InterpreterLayout { head: Some(head), id: Some(id), ..INTERPRETER }
}

const THREAD: ThreadLayout = ThreadLayout { next: 8, interpreter: 16, frame: 24, cframe: None, chunk: None };

/// The frame of 3.7 to 3.9.
const OBJECT: FrameLayout =
    FrameLayout { previous: 24, code: 32, instruction: 104, kind: FrameKind::Object { unit: 1 } };

const fn interpreter_frame(owner: u64) -> FrameKind {
    FrameKind::Interpreter { owner, tag: 0 }
}

const CODE_3_12: CodeLayout = CodeLayout {
    file: 112,
    function: 128,
    first_line: 68,
    flags: None,
    line_table: 136,
    lines: LineFormat::Locations,
    bytecode: Some(192),
    warmup: None,
};
