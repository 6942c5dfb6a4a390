//! The global offset table of one loaded object: finds the entries through which a function is called, and changes
//! them.

use crate::refusal::Refusal;
use libc::{c_void, dl_phdr_info};
use object::NativeEndian;
use object::elf::{
    DT_JMPREL, DT_NULL, DT_PLTRELSZ, DT_RELA, DT_RELASZ, DT_STRTAB, DT_SYMTAB, Dyn64, DynamicTag, PF_X, PT_DYNAMIC,
    PT_GNU_RELRO, PT_LOAD, ProgramHeader64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT, Rela64, Sym64,
};
use std::ffi::{CStr, c_int};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A range of addresses.
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

/// A loaded object, described by its own tables. It stays loaded as long as the process uses it.
#[derive(Default)]
pub(crate) struct Object {
    /// Its file, as the dynamic linker names it.
    pub(super) name: String,
    /// The code around the address by which the object was found.
    text: Span,
    base: usize,
    /// The part that is made read-only after relocation.
    relro: Span,
    dynamic: usize,
}

/// An entry through which a function is called.
pub(super) struct Entry {
    /// The address of the entry.
    place: usize,
    /// The address that it held when it was found.
    original: usize,
    is_relro: bool,
}

impl Object {
    /// Returns the object whose code contains `address`.
    pub(crate) fn holding(address: usize) -> Option<Self> {
        let mut search = (address, None::<Self>);
        // SAFETY: the callback has the type that dl_iterate_phdr(3) requires. Its argument is the search, which
        // outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(find_object), (&raw mut search).cast()) };
        search.1
    }

    /// Returns the entries by which its code calls `function`.
    pub(super) fn entries(&self, function: &CStr) -> Vec<Entry> {
        let value = |tag: DynamicTag| {
            let entry = self.dynamic_entries().find(|entry| entry.d_tag.get(NativeEndian) == tag);
            entry.map(|entry| entry.d_val.get(NativeEndian) as usize)
        };
        // glibc has relocated these values in place; other dynamic linkers have not.
        let address = |tag| value(tag).map(|value| if value < self.base { value + self.base } else { value });
        let (Some(symbols), Some(names)) = (address(DT_SYMTAB), address(DT_STRTAB)) else { return Vec::new() };
        let tables = [(DT_JMPREL, DT_PLTRELSZ), (DT_RELA, DT_RELASZ)];
        let tables = tables.into_iter().filter_map(|(table, size)| Some((address(table)?, value(size)?)));
        let mut entries: Vec<Entry> = tables
            .flat_map(|(table, size)| (0..size / size_of::<Rela64<NativeEndian>>()).map(move |index| (table, index)))
            .filter_map(|(table, index)| {
                // SAFETY: an entry of the table, which is `size` bytes long.
                let relocation = unsafe { &*(table as *const Rela64<NativeEndian>).add(index) };
                if !matches!(relocation.r_type(NativeEndian, false), R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT) {
                    return None;
                }
                let symbol = relocation.r_sym(NativeEndian, false) as usize;
                // SAFETY: relocations refer to symbols of the object's table, and these to names in its string table.
                let name = unsafe {
                    let symbol = &*(symbols as *const Sym64<NativeEndian>).add(symbol);
                    CStr::from_ptr((names + symbol.st_name.get(NativeEndian) as usize) as *const _)
                };
                (name == function).then(|| self.entry(self.base + relocation.r_offset.get(NativeEndian) as usize))
            })
            .collect();
        // The two tables may overlap, since DT_RELASZ may include DT_JMPREL.
        entries.sort_by_key(|entry| entry.place);
        entries.dedup_by_key(|entry| entry.place);
        entries
    }

    fn entry(&self, place: usize) -> Entry {
        let page = page_of(place);
        let is_relro = page >= page_of(self.relro.start) && page < page_of(self.relro.end);
        // SAFETY: a word of the table, which the dynamic linker may still write.
        let original = unsafe { AtomicUsize::from_ptr(place as *mut usize) }.load(Ordering::Relaxed);
        Entry { place, original, is_relro }
    }

    fn dynamic_entries(&self) -> impl Iterator<Item = &Dyn64<NativeEndian>> {
        (0..)
            // SAFETY: the dynamic section, up to its end.
            .map(|index| unsafe { &*(self.dynamic as *const Dyn64<NativeEndian>).add(index) })
            .take_while(|entry| entry.d_tag.get(NativeEndian) != DT_NULL)
    }
}

impl Entry {
    /// Redirects the entry to `function`. Other threads may call through it at the same time: they reach the old or the
    /// new function.
    ///
    /// # Errors
    /// [`Refusal::System`] if the page can't be made writable.
    pub(super) fn redirect(&self, function: usize) -> Result<(), Refusal> {
        let page = page_of(self.place) as *mut c_void;
        let protect = |rights: c_int| {
            // SAFETY: the page of the entry, which stays readable.
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

    /// Restores the entry if it leads to one of `ours`. An entry that another library has redirected since is left
    /// unchanged.
    pub(super) fn restore(&self, ours: &[usize]) {
        // SAFETY: a word of the table.
        let now = unsafe { AtomicUsize::from_ptr(self.place as *mut usize) }.load(Ordering::Relaxed);
        if ours.contains(&now) {
            // The page was made writable once, so this should succeed again. If it fails, the hook stays and only
            // forwards the calls.
            let _ = self.redirect(self.original);
        }
    }
}

/// Serves as the callback of dl_iterate_phdr(3). Ends the search at the object that contains the address.
unsafe extern "C" fn find_object(info: *mut dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
    // SAFETY: `search` is the value that `holding` passed, and `info` is the dynamic linker's description of an object.
    let (search, info) = unsafe { (&mut *search.cast::<(usize, Option<Object>)>(), &*info) };
    // SAFETY: its program headers, `dlpi_phnum` of them.
    let headers: &[ProgramHeader64<NativeEndian>] =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr.cast(), usize::from(info.dlpi_phnum)) };
    let base = info.dlpi_addr as usize;
    let span = |header: &ProgramHeader64<NativeEndian>| {
        Span::new(base + header.p_vaddr.get(NativeEndian) as usize, header.p_memsz.get(NativeEndian) as usize)
    };
    let mut object = Object { base, ..Object::default() };
    for header in headers {
        let is_executable = header.p_flags.get(NativeEndian).contains(PF_X);
        match header.p_type.get(NativeEndian) {
            PT_LOAD if is_executable && span(header).contains(search.0) => object.text = span(header),
            PT_DYNAMIC => object.dynamic = span(header).start,
            PT_GNU_RELRO => object.relro = span(header),
            _ => {}
        }
    }
    if !object.text.contains(search.0) {
        return 0;
    }
    // SAFETY: a C string, empty for the program itself.
    object.name = unsafe { CStr::from_ptr(info.dlpi_name) }.to_string_lossy().into_owned();
    if object.name.is_empty() {
        object.name = "the executable".into();
    }
    search.1 = (object.dynamic != 0).then_some(object);
    1
}

fn page_size() -> usize {
    // SAFETY: sysconf(3) only returns a number.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

fn page_of(address: usize) -> usize {
    address & !(page_size() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn replacement() -> c_int {
        -7
    }

    #[test]
    fn an_entry_is_redirected_until_it_is_restored() {
        // SAFETY: getppid(2) has no arguments and only returns a number.
        let parent = || unsafe { libc::getppid() };
        let real = parent();
        let object = Object::holding(find_object as *const () as usize).unwrap();
        let entries = object.entries(c"getppid");
        assert!(!entries.is_empty(), "expected entries for getppid in the table of {}, found none", object.name);
        let replacement = replacement as *const () as usize;
        entries.iter().for_each(|entry| entry.redirect(replacement).unwrap());
        assert_eq!(parent(), -7);
        entries.iter().for_each(|entry| entry.restore(&[]));
        assert_eq!(parent(), -7, "another library's redirection is not undone");
        entries.iter().for_each(|entry| entry.restore(&[replacement]));
        assert_eq!(parent(), real);
        assert!(object.entries(c"no_such_function").is_empty());
    }

    #[test]
    fn an_address_outside_all_code_is_in_no_object() {
        let data = Box::new(0u8);
        assert!(Object::holding(&raw const *data as usize).is_none());
    }
}
