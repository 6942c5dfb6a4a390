//! Options structs of every size, each alone in a block of the heap that is exactly as long, so that AddressSanitizer
//! sees who reads beyond it.

use super::header::{BAD_SIZE, Cancel, WAIT_MAX_NS};
use super::{busy_cancel_set, header};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::null;

/// The largest size that any version's struct has.
const LARGEST: usize = 4096;

/// What the struct says of itself in its first field, and what follows the fields of this version.
#[derive(Debug, Arbitrary)]
pub struct Shape {
    size: Size,
    /// The one byte behind this version's fields that is not zero: where, and what it is instead.
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
    /// What to write into the field `size` of an `Options`.
    pub fn size<Options>(&self) -> usize {
        match self.size {
            Size::Right => size_of::<Options>(),
            Size::Small(size) => size.into(),
            Size::Longer(more) => size_of::<Options>() + usize::from(more) % (LARGEST + 64),
            Size::Any(size) => size,
        }
    }

    /// Whether there are fields to look at.
    pub fn has_fields<Options>(&self) -> bool {
        (size_of::<Options>()..=LARGEST).contains(&self.size::<Options>())
    }

    /// What busy.h says of it.
    pub fn refusal<Options>(&self) -> Option<i32> {
        let served = self.has_fields::<Options>() && self.unknown_byte::<Options>().is_none_or(|(_, byte)| byte == 0);
        (!served).then_some(BAD_SIZE)
    }

    fn unknown_byte<Options>(&self) -> Option<(usize, u8)> {
        let (place, byte) = self.unknown?;
        let unknown = self.size::<Options>() - size_of::<Options>();
        (unknown > 0).then(|| (size_of::<Options>() + usize::from(place) % unknown, byte))
    }

    /// `options`, whose first field is this size, in memory that ends where it says. Of a size that none has, nothing
    /// but the size itself may be looked at.
    pub fn block<Options>(&self, options: Options) -> Block {
        let known = size_of::<Options>();
        let length = match self.size::<Options>() {
            size if size < known => size.max(size_of::<usize>()),
            size if size > LARGEST => size_of::<usize>(),
            size => size,
        };
        let block = Block::zeroed(length);
        // SAFETY: both are at least as long as what is copied, and the one is new.
        unsafe { block.start.copy_from_nonoverlapping((&raw const options).cast(), length.min(known)) };
        if self.has_fields::<Options>()
            && let Some((place, byte)) = self.unknown_byte::<Options>()
        {
            // SAFETY: `place` is below the size, which is the block's length.
            unsafe { block.start.add(place).write(byte) };
        }
        block
    }
}

/// Memory of an exact length, aligned as options are.
pub struct Block {
    start: *mut u8,
    layout: Layout,
}

impl Block {
    fn zeroed(length: usize) -> Self {
        let layout = Layout::from_size_align(length, align_of::<u64>()).unwrap();
        // SAFETY: the length is not zero.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: new, and as long.
        unsafe { start.write_bytes(0, length) };
        Self { start, layout }
    }

    /// For a function that takes options.
    pub fn options<Options>(&self) -> *const Options {
        self.start.cast()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}

/// A number, often one that something may hinge on.
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

    /// The same, but under `most` if a wait could be so long: what is over the limit must be refused.
    pub fn bounded(self, most: u64) -> u64 {
        let number = self.value();
        if number > WAIT_MAX_NS { number } else { number % most }
    }
}

/// What a cancel pointer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub enum Flag {
    None,
    Unset,
    Set,
}

impl Flag {
    /// A flag of its own on the heap, as this says it is.
    pub fn cancel(self) -> Option<Box<Cancel>> {
        let cancel = (self != Self::None).then(|| Box::new(Cancel::new()))?;
        if self == Self::Set {
            // SAFETY: a live flag.
            assert_eq!(unsafe { busy_cancel_set(&*cancel) }, header::OK);
        }
        Some(cancel)
    }
}

/// As the field `cancel` wants it.
pub fn pointer(cancel: &Option<Box<Cancel>>) -> *const Cancel {
    cancel.as_deref().map_or(null(), |cancel| cancel)
}
