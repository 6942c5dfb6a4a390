//! Parts of a file, mapped as words that other processes read and write at the same time.

use crate::exact::keep_errno;
use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// A part of a file, of so many words. Zeroed memory is an unmapped one.
pub(super) struct Mapping<const WORDS: usize>(AtomicPtr<[AtomicU64; WORDS]>);

impl<const WORDS: usize> Mapping<WORDS> {
    /// Returns an unmapped part.
    pub(super) const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// Returns the words, if they are mapped.
    #[inline]
    pub(super) fn words(&self) -> Option<&[AtomicU64; WORDS]> {
        // SAFETY: null, or a mapping of this length. It ends in `unmap` only, which nobody calls while others use it.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Maps the part of `file` that begins at the byte `offset`, which gets memory first: a store to memory that the file
    /// system can't provide would end the process (SIGBUS, mmap(2)). The kernel fills new memory with zeros.
    ///
    /// # Errors
    /// A full file system, most likely.
    pub(super) fn map(&self, file: &File, offset: u64) -> io::Result<()> {
        let bytes = size_of::<[AtomicU64; WORDS]>();
        may_grow_to(offset + bytes as u64)?;
        // SAFETY: a plain system call on an open file.
        let allocate =
            || unsafe { libc::posix_fallocate(file.as_raw_fd(), offset as libc::off_t, bytes as libc::off_t) };
        // A signal ends it, and a program may have a timer.
        let error = (0..TRIES).map(|_| allocate()).find(|error| *error != libc::EINTR).unwrap_or(libc::EINTR);
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: a mapping of an open file at an address of the kernel's choice.
        let mapped = unsafe {
            let rights = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(null_mut(), bytes, rights, libc::MAP_SHARED, file.as_raw_fd(), offset as libc::off_t)
        };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        self.0.store(mapped.cast(), Ordering::Release);
        Ok(())
    }

    /// Makes this process lose the part.
    ///
    /// # Safety
    /// No other thread exists, and the calling one does not use the words any more.
    pub(super) unsafe fn unmap(&self) {
        let words = self.0.swap(null_mut(), Ordering::AcqRel);
        if !words.is_null() {
            // SAFETY: the mapping of `map`, which nobody uses.
            unsafe { libc::munmap(words.cast(), size_of::<[AtomicU64; WORDS]>()) };
        }
    }
}

/// How often an interrupted allocation is tried.
const TRIES: u32 = 1000;

/// Checks the limit on the size of files, since the kernel sends SIGXFSZ to a process that exceeds it.
fn may_grow_to(bytes: u64) -> io::Result<()> {
    // SAFETY: getrlimit(2) writes only to the struct.
    let limit = unsafe {
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        if libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) == 0 { limit.rlim_cur } else { libc::RLIM_INFINITY }
    };
    if bytes <= limit { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EFBIG)) }
}

/// Returns the calling thread's name, as two words.
pub(super) fn thread_name() -> [u64; 2] {
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes (prctl(2)).
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let word = |from: usize| u64::from_le_bytes(name[from..from + 8].try_into().expect("eight bytes"));
    [word(0), word(8)]
}

unsafe extern "C" {
    /// pthread_setcancelstate(3).
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// Runs `body`, which makes system calls, inside a hook. The hooks' callers may rely on errno, so it stays as it was. Some
/// of the calls are cancellation points (pthreads(7)), and glibc must not unwind the frames of `body`: the thread is
/// cancelled afterwards.
pub(super) fn inside_hook<T>(body: impl FnOnce() -> T) -> T {
    const PTHREAD_CANCEL_DISABLE: c_int = 1;
    let mut before = 0;
    // SAFETY: the state belongs to the calling thread.
    unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut before) };
    let result = keep_errno(body);
    // SAFETY: as above.
    unsafe { pthread_setcancelstate(before, null_mut()) };
    result
}
