//! The global offset table of one loaded object: which of its entries lead to a function, and changing them.

use crate::Refusal;
use libc::{Elf64_Phdr, Elf64_Sym, c_void, dl_phdr_info};
use std::ffi::{CStr, c_int};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

const DT_JMPREL: i64 = 23;
const DT_PLTRELSZ: i64 = 2;
const DT_RELA: i64 = 7;
const DT_RELASZ: i64 = 8;
const DT_SYMTAB: i64 = 6;
const DT_STRTAB: i64 = 5;
const R_X86_64_GLOB_DAT: u64 = 6;
const R_X86_64_JUMP_SLOT: u64 = 7;
const PF_X: u32 = 1;

/// A stretch of memory.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    pub(super) fn new(start: usize, length: usize) -> Self {
        Self { start, end: start + length }
    }

    #[inline]
    pub(super) fn contains(&self, address: usize) -> bool {
        (self.start..self.end).contains(&address)
    }
}

/// Elf64_Rela; libc has none for every target.
#[repr(C)]
struct Relocation {
    offset: u64,
    info: u64,
    addend: i64,
}

#[repr(C)]
struct Dynamic {
    tag: i64,
    value: u64,
}

/// A loaded object, by its own tables: it stays loaded as long as the process uses it.
#[derive(Default)]
pub(super) struct Object {
    /// Its file, as the dynamic linker names it.
    pub(super) name: String,
    /// Its code, where the address that it was found by lies.
    text: Span,
    base: usize,
    /// Made read-only after relocation.
    relro: Span,
    dynamic: usize,
}

/// An entry that leads to a function, and where it led.
pub(super) struct Entry {
    place: usize,
    original: usize,
    is_relro: bool,
}

impl Object {
    /// The object whose code has `address`.
    pub(super) fn holding(address: usize) -> Option<Self> {
        let mut search = (address, None::<Self>);
        // SAFETY: the callback has the type that dl_iterate_phdr(3) asks for, and gets the search back, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
        search.1
    }

    /// The entries by which its code calls `function`.
    pub(super) fn entries(&self, function: &CStr) -> Vec<Entry> {
        let value = |tag: i64| self.tags().find(|dynamic| dynamic.tag == tag).map(|dynamic| dynamic.value as usize);
        // glibc has relocated these in place; not so other linkers.
        let address = |tag| value(tag).map(|value| if value < self.base { value + self.base } else { value });
        let (Some(symbols), Some(names)) = (address(DT_SYMTAB), address(DT_STRTAB)) else { return Vec::new() };
        let tables = [(DT_JMPREL, DT_PLTRELSZ), (DT_RELA, DT_RELASZ)];
        let tables = tables.into_iter().filter_map(|(table, size)| Some((address(table)?, value(size)?)));
        let mut entries: Vec<Entry> = tables
            .flat_map(|(table, size)| (0..size / size_of::<Relocation>()).map(move |index| (table, index)))
            .filter_map(|(table, index)| {
                // SAFETY: the table's entries, as many as the object says.
                let relocation = unsafe { &*(table as *const Relocation).add(index) };
                if !matches!(relocation.info & 0xffff_ffff, R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT) {
                    return None;
                }
                let symbol = (relocation.info >> 32) as usize;
                // SAFETY: relocations name symbols of the object's table, and these names of its string table.
                let name = unsafe {
                    let symbol = &*(symbols as *const Elf64_Sym).add(symbol);
                    CStr::from_ptr((names + symbol.st_name as usize) as *const _)
                };
                (name == function).then(|| self.entry(self.base + relocation.offset as usize))
            })
            .collect();
        // Where the two tables overlap, as DT_RELASZ may include DT_JMPREL.
        entries.sort_by_key(|entry| entry.place);
        entries.dedup_by_key(|entry| entry.place);
        entries
    }

    fn entry(&self, place: usize) -> Entry {
        let page = page_of(place);
        let is_relro = page >= page_of(self.relro.start) && page < page_of(self.relro.end);
        // SAFETY: a word of the table, which the linker may still write.
        let original = unsafe { AtomicUsize::from_ptr(place as *mut usize) }.load(Ordering::Relaxed);
        Entry { place, original, is_relro }
    }

    fn tags(&self) -> impl Iterator<Item = &Dynamic> {
        (0..)
            // SAFETY: the dynamic section, up to its end.
            .map(|index| unsafe { &*(self.dynamic as *const Dynamic).add(index) })
            .take_while(|dynamic| dynamic.tag != 0)
    }
}

impl Entry {
    /// Makes it lead to `function`. Other threads may be calling through it: they get one or the other.
    pub(super) fn redirect(&self, function: usize) -> Result<(), Refusal> {
        let page = page_of(self.place) as *mut c_void;
        let protect = |rights: c_int| {
            // SAFETY: the page with the entry; it never loses the right to be read.
            match self.is_relro && unsafe { libc::mprotect(page, page_size(), rights) } != 0 {
                true => {
                    Err(Refusal::System("mprotect of CPython's offset table", io::Error::last_os_error().to_string()))
                }
                false => Ok(()),
            }
        };
        protect(libc::PROT_READ | libc::PROT_WRITE)?;
        // SAFETY: a word of the table, writable now.
        unsafe { AtomicUsize::from_ptr(self.place as *mut usize) }.store(function, Ordering::Release);
        protect(libc::PROT_READ)
    }

    /// Makes it lead where it led, unless someone else has redirected it since.
    pub(super) fn restore(&self, ours: &[usize]) {
        // SAFETY: a word of the table.
        let now = unsafe { AtomicUsize::from_ptr(self.place as *mut usize) }.load(Ordering::Relaxed);
        if ours.contains(&now) {
            // What could be made writable once can be again; if not, the hook goes on as a mere passage.
            let _ = self.redirect(self.original);
        }
    }
}

/// dl_iterate_phdr(3)'s callback: ends the search at the object that has the address.
unsafe extern "C" fn look(info: *mut dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
    const PT_GNU_RELRO: u32 = 0x6474_e552;
    // SAFETY: what `holding` handed over, and the linker's description of an object.
    let (search, info) = unsafe { (&mut *search.cast::<(usize, Option<Object>)>(), &*info) };
    // SAFETY: its program headers, as many as it says.
    let headers: &[Elf64_Phdr] = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let base = info.dlpi_addr as usize;
    let span = |header: &Elf64_Phdr| Span::new(base + header.p_vaddr as usize, header.p_memsz as usize);
    let mut object = Object { base, ..Object::default() };
    for header in headers {
        match header.p_type {
            libc::PT_LOAD if header.p_flags & PF_X != 0 && span(header).contains(search.0) => {
                object.text = span(header)
            }
            libc::PT_DYNAMIC => object.dynamic = span(header).start,
            PT_GNU_RELRO => object.relro = span(header),
            _ => {}
        }
    }
    if !object.text.contains(search.0) {
        return 0;
    }
    // SAFETY: a text, empty for the program itself.
    object.name = unsafe { CStr::from_ptr(info.dlpi_name) }.to_string_lossy().into_owned();
    if object.name.is_empty() {
        object.name = "the executable".into();
    }
    search.1 = (object.dynamic != 0).then_some(object);
    1
}

fn page_size() -> usize {
    // SAFETY: it only returns a number.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

fn page_of(address: usize) -> usize {
    address & !(page_size() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn nobody() -> c_int {
        -7
    }

    #[test]
    fn an_entry_leads_elsewhere_until_it_is_put_back() {
        // SAFETY: it takes nothing and only tells who the parent is.
        let parent = || unsafe { libc::getppid() };
        let real = parent();
        let object = Object::holding(look as *const () as usize).unwrap();
        let entries = object.entries(c"getppid");
        assert!(!entries.is_empty(), "this test calls it through the table of {}", object.name);
        let nobody = nobody as *const () as usize;
        entries.iter().for_each(|entry| entry.redirect(nobody).unwrap());
        assert_eq!(parent(), -7);
        entries.iter().for_each(|entry| entry.restore(&[]));
        assert_eq!(parent(), -7, "someone else's redirection is left alone");
        entries.iter().for_each(|entry| entry.restore(&[nobody]));
        assert_eq!(parent(), real);
        assert!(object.entries(c"no_such_function").is_empty());
    }

    #[test]
    fn an_address_outside_all_code_is_in_no_object() {
        let data = Box::new(0u8);
        assert!(Object::holding(&raw const *data as usize).is_none());
    }
}
