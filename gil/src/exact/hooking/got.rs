//! The global offset table of one loaded object: finds the entries through which a function is called, and changes
//! them.

use super::read_only::{page_of, write_read_only};
use crate::refusal::Refusal;
use libc::{c_void, dl_phdr_info};
use object::NativeEndian;
use object::elf::{
    DT_JMPREL, DT_NULL, DT_PLTRELSZ, DT_RELA, DT_RELASZ, DT_STRTAB, DT_SYMTAB, Dyn64, DynamicTag, PF_X, PT_DYNAMIC,
    PT_GNU_RELRO, PT_LOAD, ProgramHeader64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT, Rela64, Sym64,
};
use std::ffi::{CStr, CString, c_int};
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

    pub(super) fn bounds(&self) -> (usize, usize) {
        (self.start, self.end)
    }
}

/// A loaded object, described by its own tables. It stays loaded as long as the process uses it.
#[derive(Default)]
pub(crate) struct Object {
    /// Its file, as the dynamic linker names it.
    pub(super) name: String,
    /// The code around the address by which the object was found.
    pub(super) text: Span,
    base: usize,
    /// The part that is made read-only after relocation.
    relro: Span,
    dynamic: usize,
}

/// An entry through which a function is called.
pub(super) struct Entry {
    /// The address of the entry.
    pub(super) place: usize,
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
        Entry { place, is_relro }
    }

    /// Returns true if `function` is the code by which the dynamic linker binds a function at its first call: it pushes
    /// a number and jumps to the linker (System V ABI, AMD64 supplement, 5.2, "Procedure Linkage Table").
    pub(super) fn binds_at_first_call(&self, function: usize) -> bool {
        // SAFETY: the code of the object, where at least one instruction of 5 bytes and a jump follow.
        let code = || unsafe { (function as *const [u8; 5]).read() };
        self.text.contains(function) && (code()[0] == 0x68 || code() == [0xf3, 0x0f, 0x1e, 0xfa, 0x68])
    }

    fn dynamic_entries(&self) -> impl Iterator<Item = &Dyn64<NativeEndian>> {
        (0..)
            // SAFETY: the dynamic section, up to its end.
            .map(|index| unsafe { &*(self.dynamic as *const Dyn64<NativeEndian>).add(index) })
            .take_while(|entry| entry.d_tag.get(NativeEndian) != DT_NULL)
    }
}

impl Entry {
    /// Returns the function to which the entry leads.
    pub(super) fn leads_to(&self) -> usize {
        // SAFETY: a word of the table, which the dynamic linker or another tool may write at the same time.
        unsafe { AtomicUsize::from_ptr(self.place as *mut usize) }.load(Ordering::Relaxed)
    }

    /// Makes the entry lead to `function`. Other threads may call through it at the same time: they reach the old or
    /// the new function.
    ///
    /// # Errors
    /// [`Refusal::System`] if the entry can't be written.
    pub(super) fn redirect(&self, function: usize) -> Result<(), Refusal> {
        if self.is_relro {
            return write_read_only(self.place, function)
                .map_err(|error| Refusal::System("write to CPython's offset table", error.to_string()));
        }
        // SAFETY: a word of the table, in a page that is always writable.
        unsafe { AtomicUsize::from_ptr(self.place as *mut usize) }.store(function, Ordering::Release);
        Ok(())
    }
}

/// Returns the file of the object that contains `address`, as the dynamic linker names it.
pub(crate) fn object_at(address: usize) -> Option<String> {
    // SAFETY: dladdr(3) writes only to the struct. Its texts belong to objects that are loaded.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        (libc::dladdr(address as *const c_void, &raw mut info) != 0 && !info.dli_fname.is_null())
            .then(|| CStr::from_ptr(info.dli_fname).to_string_lossy().into_owned())
    }
}

/// Keeps the object that contains `address` mapped until the process ends, even if its user closes it.
pub(super) fn keep_loaded(address: usize) {
    let Some(name) = object_at(address).and_then(|name| CString::new(name).ok()) else { return };
    // SAFETY: the object is loaded already, so no initialiser runs. The handle is kept for ever.
    unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE) };
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
        let found: Vec<_> = entries.iter().map(Entry::leads_to).collect();
        entries.iter().for_each(|entry| entry.redirect(replacement).unwrap());
        assert_eq!(parent(), -7);
        entries.iter().zip(found).for_each(|(entry, found)| entry.redirect(found).unwrap());
        assert_eq!(parent(), real);
        assert!(object.entries(c"no_such_function").is_empty());
    }

    #[test]
    fn an_address_outside_all_code_is_in_no_object() {
        let data = Box::new(0u8);
        assert!(Object::holding(&raw const *data as usize).is_none());
    }
}
