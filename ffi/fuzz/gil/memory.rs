//! The memory that the functions write to.

use crate::common::header::OK;
use crate::common::options::{Block, Shape};
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};

/// The bytes of memory that no call has written to.
const UNTOUCHED: u8 = 0xa5;

/// Returns a struct that no call has written to.
///
/// # Safety
/// Every field of `Value` is an integer.
pub unsafe fn untouched<Value>() -> Value {
    let mut value = MaybeUninit::<Value>::uninit();
    // SAFETY: the pointer is that of the struct. Any bytes are integers, as the caller promises.
    unsafe {
        value.as_mut_ptr().cast::<u8>().write_bytes(UNTOUCHED, size_of::<Value>());
        value.assume_init()
    }
}

/// A struct that begins with its size, to which a call writes, or NULL.
pub struct Struct {
    block: Option<Block>,
    before: Vec<u8>,
}

impl Struct {
    pub fn new<Value>(shape: Option<&Shape>, value: Value) -> Self {
        let block = shape.map(|shape| shape.block(value));
        Self { before: block.as_ref().map_or_else(Vec::new, Block::bytes), block }
    }

    pub fn pointer<Value>(&self) -> *mut Value {
        self.block.as_ref().map_or(null_mut(), Block::place)
    }

    /// Returns the struct after a call with this status. Fails if the call has written after an error, or behind the
    /// fields of this version.
    pub fn read<Value>(&self, status: i32) -> Option<Value> {
        let block = self.block.as_ref()?;
        let kept = if status == OK { size_of::<Value>() } else { 0 };
        assert_eq!(block.bytes()[kept..], self.before[kept..], "written after status {status}, or behind the fields");
        // SAFETY: after BUSY_OK the block has the fields of this version. They are integers.
        (status == OK).then(|| unsafe { block.place::<Value>().read() })
    }
}

/// An array of values that consist of integers, to which a call writes, or NULL.
pub struct Array {
    block: Option<Block>,
    is_null: bool,
}

impl Array {
    pub fn new<Value>(capacity: usize, is_null: bool) -> Self {
        let length = if is_null { 0 } else { capacity * size_of::<Value>() };
        Self { block: (length > 0).then(|| Block::filled(length, UNTOUCHED)), is_null }
    }

    /// Returns the pointer to the array. An empty array has an address that can neither be read nor written.
    pub fn pointer<Value>(&self) -> *mut Value {
        let empty = if self.is_null { null_mut() } else { NonNull::dangling().as_ptr() };
        self.block.as_ref().map_or(empty, Block::place)
    }

    /// Returns the first `count` values, or all if there are less. Fails if a value behind them has been written.
    pub fn read<Value: Copy>(&self, count: usize) -> Vec<Value> {
        let Some(block) = &self.block else { return Vec::new() };
        let bytes = block.bytes();
        let count = count.min(bytes.len() / size_of::<Value>());
        let rest = &bytes[count * size_of::<Value>()..];
        assert!(rest.iter().all(|byte| *byte == UNTOUCHED), "written behind the first {count} values");
        // SAFETY: the block has at least `count` values, which consist of integers.
        (0..count).map(|index| unsafe { block.place::<Value>().add(index).read() }).collect()
    }

    /// Returns the one value of the array after a call with this status. Fails if the call has written after an error.
    pub fn result<Value: Copy>(&self, status: i32) -> Option<Value> {
        self.read(usize::from(status == OK)).first().copied()
    }
}
