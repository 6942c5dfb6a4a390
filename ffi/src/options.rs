//! Option structs that begin with their size.

use crate::status::{BUSY_BAD_SIZE, busy_status};

/// The largest accepted size, one page. No header has a struct that large, so a larger size means that the struct was
/// never initialised.
const LARGEST: usize = 4096;

/// Returns the fields of `*options` that this library knows. A longer struct comes from a newer header: it is accepted
/// as long as the fields that this library does not know are zero, as in Linux's copy_struct_from_user().
///
/// # Safety
/// `options` points to a live, aligned struct whose first field, a `usize`, is its size.
pub(crate) unsafe fn known_prefix<Options>(options: *const Options) -> Result<Options, busy_status> {
    let known = size_of::<Options>();
    // SAFETY: every version of the struct begins with this field.
    let size = unsafe { options.cast::<usize>().read() };
    if !(known..=LARGEST).contains(&size) {
        return Err(BUSY_BAD_SIZE);
    }
    // SAFETY: the caller's struct is `size` bytes long, by its first field.
    let unknown = unsafe { std::slice::from_raw_parts(options.cast::<u8>().add(known), size - known) };
    if unknown.iter().any(|byte| *byte != 0) {
        return Err(BUSY_BAD_SIZE);
    }
    // SAFETY: the struct is long enough for every field of this version.
    Ok(unsafe { options.read() })
}
