//! Option structs that begin with their size.

use crate::status::{BUSY_BAD_SIZE, busy_status};

/// No header was so new that its struct passes a page: a larger size is a struct left uninitialised.
const LARGEST: usize = 4096;

/// The fields of `*options` that this library knows. A struct longer than ours comes from a newer header: it is served
/// as long as the fields that we do not know are zero, as copy_struct_from_user() of Linux does.
///
/// # Safety
/// `options` points to a live, aligned struct whose first field, a `usize`, tells its size.
pub(crate) unsafe fn known_prefix<Options>(options: *const Options) -> Result<Options, busy_status> {
    let known = size_of::<Options>();
    // SAFETY: the first field of every version.
    let size = unsafe { options.cast::<usize>().read() };
    if !(known..=LARGEST).contains(&size) {
        return Err(BUSY_BAD_SIZE);
    }
    // SAFETY: the caller's struct is `size` bytes long, as its first field says.
    let unknown = unsafe { std::slice::from_raw_parts(options.cast::<u8>().add(known), size - known) };
    if unknown.iter().any(|byte| *byte != 0) {
        return Err(BUSY_BAD_SIZE);
    }
    // SAFETY: long enough for every field of this version.
    Ok(unsafe { options.read() })
}
