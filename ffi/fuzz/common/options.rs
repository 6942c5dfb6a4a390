//! Structs of every size. Each is alone in a heap block of exactly its length, so that AddressSanitizer detects a read or
//! a write beyond its end.

use super::header::{BAD_SIZE, Cancel, WAIT_MAX_NS};
use super::{busy_cancel_set, header};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::null;

/// The largest size that the struct of any version has.
const LARGEST: usize = 4096;

/// The size in the first field of the struct, and the bytes behind the fields of this version.
#[derive(Debug, Arbitrary)]
pub struct Shape {
    size: Size,
    /// The one byte behind the fields of this version that is not zero: its place and its value.
    unknown: Option<(u16, u8)>,
}

#[derive(Debug, Arbitrary)]
enum Size {
    Right,
    Small(u8),
    Longer(u16),
    Any(usize),
}

impl Shape {
    /// The struct of this version, as its _INIT macro has it.
    pub const RIGHT: Self = Self { size: Size::Right, unknown: None };

    /// A struct of a newer version, whose fields that this version does not know are zero.
    pub fn newer(more: u16) -> Self {
        Self { size: Size::Longer(more), unknown: None }
    }

    /// Returns the value of the field `size` of an `Options`.
    pub fn size<Options>(&self) -> usize {
        match self.size {
            Size::Right => size_of::<Options>(),
            Size::Small(size) => size.into(),
            Size::Longer(more) => size_of::<Options>() + usize::from(more) % (LARGEST + 64),
            Size::Any(size) => size,
        }
    }

    /// Returns whether the library may read the fields of this version.
    pub fn has_fields<Options>(&self) -> bool {
        (size_of::<Options>()..=LARGEST).contains(&self.size::<Options>())
    }

    /// Returns the status with which the library must refuse the struct, by busy.h.
    pub fn refusal<Options>(&self) -> Option<i32> {
        let served = self.has_fields::<Options>() && self.unknown_byte::<Options>().is_none_or(|(_, byte)| byte == 0);
        (!served).then_some(BAD_SIZE)
    }

    fn unknown_byte<Options>(&self) -> Option<(usize, u8)> {
        let (place, byte) = self.unknown?;
        let unknown = self.size::<Options>() - size_of::<Options>();
        (unknown > 0).then(|| (size_of::<Options>() + usize::from(place) % unknown, byte))
    }

    /// Returns `options`, whose first field is this size, in a block that ends after that size. If no version has
    /// this size, the block holds little more than the first field, since the library may read nothing else.
    pub fn block<Options>(&self, options: Options) -> Block {
        let known = size_of::<Options>();
        let length = match self.size::<Options>() {
            size if size < known => size.max(size_of::<usize>()),
            size if size > LARGEST => size_of::<usize>(),
            size => size,
        };
        let block = Block::zeroed(length);
        // SAFETY: both are at least as long as the copy, and the block is new.
        unsafe { block.start.copy_from_nonoverlapping((&raw const options).cast(), length.min(known)) };
        if self.has_fields::<Options>()
            && let Some((place, byte)) = self.unknown_byte::<Options>()
        {
            // SAFETY: `place` is less than the size, which is the length of the block.
            unsafe { block.start.add(place).write(byte) };
        }
        block
    }
}

/// A heap block of an exact length, with the alignment of options.
pub struct Block {
    start: *mut u8,
    layout: Layout,
}

impl Block {
    /// Returns a block of `length` bytes of this value. The length must not be zero.
    pub fn filled(length: usize, byte: u8) -> Self {
        let layout = Layout::from_size_align(length, align_of::<u64>()).unwrap();
        assert_ne!(length, 0);
        // SAFETY: the length is not zero.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: the block is new and has `length` bytes.
        unsafe { start.write_bytes(byte, length) };
        Self { start, layout }
    }

    fn zeroed(length: usize) -> Self {
        Self::filled(length, 0)
    }

    /// Returns the pointer that a function with options takes.
    pub fn options<Options>(&self) -> *const Options {
        self.start.cast()
    }

    /// Returns the pointer that a function takes which writes to the block.
    pub fn place<Value>(&self) -> *mut Value {
        self.start.cast()
    }

    /// Returns a copy of the bytes.
    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: the block has this length, and all its bytes are initialised.
        unsafe { std::slice::from_raw_parts(self.start, self.layout.size()) }.to_vec()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the block was allocated with this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}

/// A number, often one near a limit.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Number {
    Small(u8),
    NearLimit(i8),
    Any(u64),
}

impl Number {
    pub fn value(self) -> u64 {
        match self {
            Self::Small(number) => number.into(),
            Self::NearLimit(distance) => WAIT_MAX_NS.saturating_add_signed(distance.into()),
            Self::Any(number) => number,
        }
    }

    /// Returns the number, reduced below `most` unless it exceeds the longest wait and must therefore be refused.
    pub fn bounded(self, most: u64) -> u64 {
        let number = self.value();
        if number > WAIT_MAX_NS { number } else { number % most }
    }
}

/// The cancel pointer of an option struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub enum Flag {
    None,
    Unset,
    Set,
}

impl Flag {
    /// Returns a new flag on the heap in this state, or None for NULL.
    pub fn cancel(self) -> Option<Box<Cancel>> {
        let cancel = (self != Self::None).then(|| Box::new(Cancel::new()))?;
        if self == Self::Set {
            // SAFETY: the flag is alive.
            assert_eq!(unsafe { busy_cancel_set(&*cancel) }, header::OK);
        }
        Some(cancel)
    }
}

/// Returns `cancel` as the value of the field `cancel`.
pub fn pointer(cancel: &Option<Box<Cancel>>) -> *const Cancel {
    cancel.as_deref().map_or(null(), |cancel| cancel)
}
