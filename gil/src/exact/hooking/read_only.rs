//! Writes to pages that the dynamic linker has made read-only.
//!
//! Another tool may write to the same page at the same time, after mprotect(2) has made it writable. If we made the
//! page read-only again in that moment, the other tool would fault; and so would we, the other way round. A write to
//! /proc/self/mem needs no mprotect: the kernel writes to private pages of the own process whatever their rights are
//! (`FOLL_FORCE`, mm/gup.c).

use libc::c_void;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Writes `word` to the aligned `address`. Other threads may read it at the same time: they see the old or the new
/// word, since the kernel copies aligned words as a whole (arch/x86/lib/memcpy_64.S). Allocates nothing unless
/// /proc/self/mem can't be written.
///
/// # Errors
/// Those of mprotect(2), if /proc/self/mem can't be written.
pub(super) fn write_read_only(address: usize, word: usize) -> io::Result<()> {
    write_by_proc(address, word).or_else(|_| write_by_mprotect(address, word))
}

fn write_by_proc(address: usize, word: usize) -> io::Result<()> {
    // SAFETY: plain system calls; the word outlives them. The address is the caller's.
    unsafe {
        let file = libc::open(c"/proc/self/mem".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        let written = libc::pwrite(file, (&raw const word).cast(), size_of::<usize>(), address as libc::off_t);
        let result = if written == 8 { Ok(()) } else { Err(io::Error::last_os_error()) };
        libc::close(file);
        result
    }
}

/// Without /proc/self/mem, or if the kernel forbids such writes (proc_mem.force_override in its parameters). Leaves the
/// page's rights as they were found.
fn write_by_mprotect(address: usize, word: usize) -> io::Result<()> {
    let protect = |rights| {
        // SAFETY: the page of the word, which stays readable.
        match unsafe { libc::mprotect(page_of(address) as *mut c_void, page_size(), rights) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    let was_writable = is_writable(address);
    protect(libc::PROT_READ | libc::PROT_WRITE)?;
    // SAFETY: an aligned word in a writable page.
    unsafe { AtomicUsize::from_ptr(address as *mut usize) }.store(word, Ordering::Release);
    if was_writable { Ok(()) } else { protect(libc::PROT_READ) }
}

/// Returns true if /proc/self/maps lists the page of `address` as writable.
fn is_writable(address: usize) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let line = maps.lines().find(|line| {
        let bounds = line.split(' ').next().and_then(|range| range.split_once('-'));
        let bounds = bounds.and_then(|(start, end)| {
            Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
        });
        bounds.is_some_and(|bounds| bounds.contains(&address))
    });
    line.is_some_and(|line| line.split(' ').nth(1).is_some_and(|rights| rights.contains('w')))
}

fn page_size() -> usize {
    // SAFETY: sysconf(3) only returns a number.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

pub(super) fn page_of(address: usize) -> usize {
    address & !(page_size() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rights: i32) -> usize {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: new memory, at an address of the kernel's choice.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), page_size(), rights, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        page as usize
    }

    fn word(address: usize) -> usize {
        // SAFETY: a word of a page that `page` has mapped.
        unsafe { (address as *const usize).read_volatile() }
    }

    #[test]
    fn a_word_is_written_and_the_rights_of_its_page_stay() {
        let both = libc::PROT_READ | libc::PROT_WRITE;
        for write in [write_read_only, write_by_proc, write_by_mprotect] {
            for (rights, is_left_writable) in [(libc::PROT_READ, false), (both, true)] {
                let address = page(rights) + 64;
                write(address, 7).unwrap();
                assert_eq!((word(address), is_writable(address)), (7, is_left_writable));
            }
        }
    }

    #[test]
    fn another_tool_that_has_just_made_the_page_writable_can_write() {
        let page = page(libc::PROT_READ);
        let end = std::time::Instant::now() + std::time::Duration::from_millis(300);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while std::time::Instant::now() < end {
                    write_read_only(page + 8, 1).unwrap();
                }
            });
            while std::time::Instant::now() < end {
                // SAFETY: the test's own page, made writable just before the store. A fault would end the test.
                unsafe {
                    libc::mprotect(page as *mut c_void, page_size(), libc::PROT_READ | libc::PROT_WRITE);
                    (0..200).for_each(|_| (page as *mut usize).write_volatile(2));
                    libc::mprotect(page as *mut c_void, page_size(), libc::PROT_READ);
                }
            }
        });
        assert_eq!((word(page), word(page + 8)), (2, 1));
    }
}
