//! The code objects of a process, cached.
//!
//! A code object whose function is gone is freed, and another one may get its address. So each code object of a stack
//! is read every time, all of them at once, and compared with the cached one: from `co_argcount` or `co_consts` to the
//! table of lines, all its fields, among them the pointers to its bytecode, its constants and its names (and, from 3.12
//! on, the number `co_version`), stay the same as long as it lives.

use super::super::target::Target;
use super::error::{StackError, plausible, torn};
use super::gather::gather;
use super::layout::{LENGTH, Layout, OBJECT_TYPE, TYPE_NAME, word};
use super::lines::Lines;
use super::text;
use super::walk::RawFrame;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// What a stack shows of a code object.
#[derive(Debug)]
pub(super) struct Code {
    /// Its fields when it was read.
    identity: Box<[u8]>,
    pub file: Arc<str>,
    pub function: Arc<str>,
    /// The code of a generator or coroutine. Unknown from 3.11 on, where the frame shows it.
    pub is_generator: bool,
    lines: Lines,
    /// `_co_firsttraceable`, in bytes; 0 up to 3.10.
    first_traceable: u64,
}

/// The code objects, by address.
#[derive(Debug)]
pub(super) struct Codes {
    known: HashMap<u64, Code>,
    /// The address of `PyCode_Type`, once it is known.
    kind: Option<u64>,
    /// The addresses of CPython's variables, among them `PyCode_Type`.
    variables: Vec<Range<u64>>,
    /// Reused for each stack: the addresses of its code objects, and their memory.
    addresses: Vec<u64>,
    memory: Vec<u8>,
}

impl Codes {
    /// The maximum number of code objects kept. A program that compiles code all the time would otherwise fill the
    /// memory.
    const MOST: usize = 1 << 14;

    pub fn new(variables: Vec<Range<u64>>) -> Self {
        Self { known: HashMap::new(), kind: None, variables, addresses: Vec::new(), memory: Vec::new() }
    }

    /// Returns the code object at `address`, if [`Self::update`] has read it.
    pub fn get(&self, address: u64) -> Option<&Code> {
        self.known.get(&address)
    }

    /// Reads the code objects of `frames`, or verifies that they are the cached ones.
    pub fn update(&mut self, target: &Target, layout: &Layout, frames: &[RawFrame]) -> Result<(), StackError> {
        self.addresses.clear();
        self.addresses.extend(frames.iter().map(|frame| frame.code));
        self.addresses.sort_unstable();
        self.addresses.dedup();
        if self.known.len() + self.addresses.len() > Self::MOST {
            self.known.clear();
        }
        let size = layout.code.size();
        let read = gather(target, &self.addresses, size, &mut self.memory)?;
        if let Some(missing) = self.addresses.get(read) {
            return torn("a mapped code object", *missing);
        }
        for index in 0..self.addresses.len() {
            let address = self.addresses[index];
            let memory = &self.memory[index * size..][..size];
            let kind = word(memory, OBJECT_TYPE);
            if self.kind != Some(kind) {
                // There is only one type of code objects, but the first one that was found might be another's.
                if self.kind.is_some() || !is_code_type(target, &self.variables, kind)? {
                    return torn("the type `code`", kind);
                }
                self.kind = Some(kind);
            }
            let identity = identity(layout, memory);
            if self.known.get(&address).is_some_and(|known| *known.identity == *identity) {
                continue;
            }
            let code = load(target, layout, memory, identity)?;
            // If the object was freed meanwhile, or before, the names that were read may be another's.
            let mut again = vec![0; size];
            if !target.read(address, &mut again)? || *self::identity(layout, &again) != *code.identity {
                return torn("the same code object", address);
            }
            if !lives(&again) {
                return torn("a living code object", address);
            }
            self.known.insert(address, code);
        }
        Ok(())
    }
}

impl Code {
    /// Returns the line of a frame that executes this code at `address`, if the instruction has one. The outer option
    /// is `None` if the frame is not complete: it has not yet reached the first instruction of its function
    /// (`_PyFrame_IsIncomplete` in Include/internal/pycore_frame.h). Tracebacks leave such frames out, too.
    pub fn line(&self, layout: &Layout, address: u64, frame: RawFrame) -> Option<Option<u32>> {
        let offset = match layout.code.bytecode {
            None => frame.instruction,
            Some(bytecode) => {
                let offset = frame.instruction.wrapping_sub(address.wrapping_add(bytecode)) as i64;
                let first = self.first_traceable as i64;
                if !frame.is_generator && offset < first {
                    return None;
                }
                offset.max(0) as u64
            }
        };
        Some(u32::try_from(offset).ok().and_then(|offset| self.lines.at(offset)))
    }
}

/// Returns the fields that don't change while a code object lives.
fn identity(layout: &Layout, memory: &[u8]) -> Box<[u8]> {
    /// The size of PyObject_HEAD, whose number of references changes.
    const HEAD: usize = 16;
    let mut fields: Box<[u8]> = memory[HEAD..layout.code.line_table as usize + 8].into();
    if let Some(warmup) = layout.code.warmup {
        fields[warmup as usize - HEAD..][..2].fill(0);
    }
    fields
}

/// Returns true if an object is in use, as far as its number of references shows. That is 0 while the object is being freed;
/// then the allocator keeps a pointer there, or 0 (`pymalloc_free` in Objects/obmalloc.c; glibc's malloc likewise). The
/// number has 32 bits, and from 3.14 on flags in the upper 16 of the word (Include/refcount.h).
fn lives(memory: &[u8]) -> bool {
    let references = word(memory, 0);
    references as u32 != 0 && (references >> 32) as u16 == 0
}

/// Returns true if `kind` is the address of `PyCode_Type`: a variable of CPython, whose name is `code`.
fn is_code_type(target: &Target, variables: &[Range<u64>], kind: u64) -> Result<bool, StackError> {
    if !variables.iter().any(|range| range.contains(&kind)) {
        return Ok(false);
    }
    let mut text = [0; 5];
    let name = target.word(kind.wrapping_add(TYPE_NAME))?.unwrap_or(0);
    Ok(target.read(name, &mut text)? && &text == b"code\0")
}

/// CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR (Include/code.h).
const GENERATORS: u64 = 0x20 | 0x80 | 0x200;

fn load(target: &Target, layout: &Layout, memory: &[u8], identity: Box<[u8]>) -> Result<Code, StackError> {
    let fields = layout.code;
    let text = |offset: u64| text::read(target, word(memory, offset), layout.text, layout.bytes_data);
    let (file, function) = (text(fields.file)?, text(fields.function)?);
    let table = line_table(target, word(memory, fields.line_table), layout.bytes_data)?;
    let first_line = word(memory, fields.first_line) as u32 as i32;
    let flags = fields.flags.map_or(0, |offset| word(memory, offset));
    let first_traceable = fields.first_traceable().map_or(0, |offset| word(memory, offset) as u32);
    // Functions begin with a few instructions of their own, at most one for each variable.
    if first_traceable > 1 << 20 {
        return torn("the first traceable instruction", first_traceable.into());
    }
    Ok(Code {
        identity,
        file: file.into(),
        function: function.into(),
        is_generator: flags & GENERATORS != 0,
        lines: Lines::decode(&table, fields.lines, first_line),
        first_traceable: u64::from(first_traceable) * 2,
    })
}

/// Reads the bytes object at `address`. A table that is too long becomes empty.
fn line_table(target: &Target, address: u64, bytes_data: u64) -> Result<Vec<u8>, StackError> {
    /// A module of 100,000 lines has less.
    const LONGEST: u64 = 4 << 20;
    let address = plausible(address, "the address of a table of lines")?;
    let Some(length) = target.word(address + LENGTH)? else { return torn("a mapped table of lines", address) };
    if length > 1 << 40 {
        return torn("the length of a table of lines", length);
    }
    if length > LONGEST {
        return Ok(Vec::new());
    }
    let mut table = vec![0; length as usize];
    if target.read(address + bytes_data, &mut table)? { Ok(table) } else { torn("a mapped table of lines", address) }
}

#[cfg(test)]
mod tests {
    use super::super::layout::LineFormat;
    use super::super::table::by_table;
    use super::*;

    #[test]
    fn a_freed_object_does_not_live() {
        let lives = |word: u64| lives(&word.to_le_bytes());
        // Ordinary, immortal up to 3.13, immortal and with a flag in 3.14.
        assert!([1, 70_000, 0xffff_ffff, 3 << 30, 1 << 48 | 3 << 30].into_iter().all(lives));
        // Being freed, the last free block, pointers to the next one.
        assert!(![0, 0x7f12_3456_7890, 0x5555_5567_1230].into_iter().any(lives));
    }

    #[test]
    fn a_frame_before_the_first_instruction_of_its_function_is_left_out() {
        let layout = by_table(3, 11).unwrap();
        let bytecode = layout.code.bytecode.unwrap();
        // Ten units on line 7.
        let code = Code {
            identity: Box::default(),
            file: "".into(),
            function: "".into(),
            is_generator: false,
            lines: Lines::decode(&[0x80 | 7, 0, 0x80 | 1, 0], LineFormat::Locations, 7),
            first_traceable: 4,
        };
        let line = |offset: u64, is_generator| {
            let instruction = (0x1000 + bytecode).wrapping_add(offset);
            code.line(&layout, 0x1000, RawFrame { instruction, is_generator, ..RawFrame::default() })
        };
        assert_eq!([line(u64::MAX - 1, false), line(0, false), line(2, false)], [None; 3]);
        assert_eq!([line(4, false), line(18, false)], [Some(Some(7)); 2]);
        // Beyond the table.
        assert_eq!(line(20, false), Some(None));
        assert_eq!(line(1 << 40, false), Some(None));
        // A generator's frame is complete as soon as it exists.
        assert_eq!(line(2, true), Some(Some(7)));
    }
}
