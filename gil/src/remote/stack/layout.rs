//! The places of the fields from which a stack is read, in one version of CPython on x86-64.

/// The offsets and formats of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub interpreter: InterpreterLayout,
    pub thread: ThreadLayout,
    pub frame: FrameLayout,
    pub code: CodeLayout,
    pub text: Text,
    /// The first byte of a bytes object (of a string object in 2.7).
    pub bytes_data: u64,
}

/// Offsets in `_PyRuntime` and in a PyInterpreterState.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InterpreterLayout {
    /// The first interpreter, in `_PyRuntime`. `None` up to 3.6, whose list is a static variable without a symbol.
    pub head: Option<u64>,
    pub next: u64,
    /// Its id; `None` up to 3.6.
    pub id: Option<u64>,
    /// Its first thread.
    pub threads: u64,
}

/// Offsets in a PyThreadState.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ThreadLayout {
    pub next: u64,
    pub interpreter: u64,
    /// The innermost frame; in 3.11 and 3.12, the `cframe` that points to it.
    pub frame: u64,
    /// The offset of `current_frame` in a `_PyCFrame`, in 3.11 and 3.12.
    pub cframe: Option<u64>,
    /// `datastack_chunk`, from 3.11 on; `datastack_top` follows it.
    pub chunk: Option<u64>,
}

impl ThreadLayout {
    /// Returns the offset of `datastack_top`: the two have been neighbours since 3.11 (Include/cpython/pystate.h).
    pub fn top(&self) -> Option<u64> {
        self.chunk.map(|chunk| chunk + 8)
    }
}

/// Offsets in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameLayout {
    pub previous: u64,
    pub code: u64,
    pub instruction: u64,
    pub kind: FrameKind,
}

/// The kind of frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// Up to 3.10: a PyFrameObject. `instruction` is an int.
    Object {
        /// The number of bytes that `f_lasti` counts.
        unit: u64,
    },
    /// From 3.11 on: a _PyInterpreterFrame, in the thread's data stack or in a generator. `instruction` is a pointer.
    Interpreter {
        /// The offset of `owner`.
        owner: u64,
        /// The bits of the pointer to the code object that are not part of the address (`_PyStackRef`, from 3.14 on).
        tag: u64,
    },
}

/// Offsets in a code object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CodeLayout {
    pub file: u64,
    /// `co_qualname`, or `co_name` up to 3.10.
    pub function: u64,
    pub first_line: u64,
    /// `co_flags`, up to 3.10.
    pub flags: Option<u64>,
    pub line_table: u64,
    pub lines: LineFormat,
    /// The first instruction, from 3.11 on.
    pub bytecode: Option<u64>,
    /// A short that changes while the code object lives, before `line_table`: `co_warmup`, in 3.11.
    pub warmup: Option<u64>,
}

impl CodeLayout {
    /// Returns the offset of `_co_firsttraceable`: since 3.11, `co_extra` is the only field between it and the
    /// bytecode, in builds with a GIL (Include/cpython/code.h).
    pub fn first_traceable(&self) -> Option<u64> {
        self.bytecode.map(|bytecode| bytecode - 16)
    }

    /// Returns the number of bytes that contain all fields used.
    pub fn size(&self) -> usize {
        let last = [self.file + 8, self.function + 8, self.first_line + 4, self.line_table + 8];
        last.into_iter().chain(self.bytecode).max().unwrap_or(0) as usize
    }
}

/// The format of a table of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineFormat {
    /// Up to 3.9, `co_lnotab`: Objects/lnotab_notes.txt. The differences of lines are signed from 3.6 on.
    Lnotab { signed: bool },
    /// 3.10, `co_linetable`: Objects/lnotab_notes.txt.
    Ranges,
    /// From 3.11 on, `co_linetable`: Objects/locations.md (3.14 on: InternalDocs/code_objects.md).
    Locations,
}

/// The format of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// 2.7: bytes.
    Bytes,
    /// From 3.3 on: PEP 393.
    Unicode {
        /// The size of a PyASCIIObject, behind which the characters of an ASCII text begin.
        ascii: u64,
        /// The size of a PyCompactUnicodeObject, behind which those of any other text begin.
        compact: u64,
    },
}

/// `ob_type`, in all versions.
pub(super) const OBJECT_TYPE: u64 = 8;
/// `tp_name`, in all versions.
pub(super) const TYPE_NAME: u64 = 24;
/// `ob_size` of a bytes object, and `length` of a text, in all versions.
pub(super) const LENGTH: u64 = 16;
/// `state` of a text, in all versions.
pub(super) const TEXT_STATE: u64 = 32;

/// Returns the word at `offset`; the missing bytes behind the end are 0.
pub(super) fn word(memory: &[u8], offset: u64) -> u64 {
    let rest = memory.get(offset as usize..).unwrap_or_default();
    let mut bytes = [0; 8];
    let known = rest.len().min(8);
    bytes[..known].copy_from_slice(&rest[..known]);
    u64::from_le_bytes(bytes)
}
