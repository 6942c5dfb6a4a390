/* Another tool that redirects CPython's calls of pthread_cond_signal or sem_post, as a profiler might, and counts them. */
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

static uintptr_t *entries[8], saved[8];
static int count, is_off;
static unsigned long calls;

static int hook(void *object) {
    __atomic_fetch_add(&calls, is_off ? 0 : 1, __ATOMIC_RELAXED);
    return ((int (*)(void *))saved[0])(object);
}

static void set(int entry, uintptr_t value) {
    mprotect((void *)((uintptr_t)entries[entry] & ~4095ul), 4096, PROT_READ | PROT_WRITE);
    __atomic_store_n(entries[entry], value, __ATOMIC_RELEASE);
}

struct wanted { uintptr_t code; const char *function; };

static int find(struct dl_phdr_info *info, size_t size, void *argument) {
    struct wanted *wanted = argument;
    ElfW(Dyn) *dynamic = 0;
    int holds = 0;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC) dynamic = (ElfW(Dyn) *)start;
        holds |= info->dlpi_phdr[i].p_type == PT_LOAD && wanted->code - start < info->dlpi_phdr[i].p_memsz;
    }
    if (!holds || !dynamic) return 0;
    uintptr_t value[40] = {0};
    for (; dynamic->d_tag; dynamic++)
        if (dynamic->d_tag < 40) value[dynamic->d_tag] = dynamic->d_un.d_val;
    for (int table = 0; table < 2; table++) {
        Elf64_Rela *rela = (Elf64_Rela *)value[table ? DT_JMPREL : DT_RELA];
        for (uintptr_t n = value[table ? DT_PLTRELSZ : DT_RELASZ] / sizeof *rela; n--; rela++) {
            Elf64_Sym *symbol = (Elf64_Sym *)value[DT_SYMTAB] + ELF64_R_SYM(rela->r_info);
            uintptr_t *entry = (uintptr_t *)(info->dlpi_addr + rela->r_offset);
            int is_call = ELF64_R_TYPE(rela->r_info) == R_X86_64_JUMP_SLOT || ELF64_R_TYPE(rela->r_info) == R_X86_64_GLOB_DAT;
            if (is_call && !strcmp((char *)value[DT_STRTAB] + symbol->st_name, wanted->function) &&
                (!count || entries[count - 1] != entry) && count < 8)
                entries[count++] = entry;
        }
    }
    return 1;
}

/* Redirects the calls of `function` by the object that contains `code`. Returns the number of entries. */
int install(uintptr_t code, const char *function) {
    struct wanted wanted = {code, function};
    count = is_off = 0;
    dl_iterate_phdr(find, &wanted);
    for (int i = 0; i < count; i++) {
        saved[i] = *entries[i];
        set(i, (uintptr_t)hook);
    }
    return count;
}

/* Restores what was found if the entry still leads here or `is_forced`. Otherwise the hook only passes the calls on. */
int uninstall(int is_forced) {
    int restored = 0;
    is_off = 1;
    for (int i = 0; i < count; i++)
        if (is_forced || *entries[i] == (uintptr_t)hook) {
            set(i, saved[i]);
            restored++;
        }
    return restored;
}

unsigned long seen(void) { return __atomic_load_n(&calls, __ATOMIC_RELAXED); }

#ifdef OLDER_COPY
/* Then it looks like a copy of libbusy with ABI 1.0 that meters. */
unsigned busy_abi_version(void) { return 1u << 16; }
int busy_gil_start(void) { return 0; }
#endif
