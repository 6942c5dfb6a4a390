/* Opens libbusy while running, for a program that must also start where there is none.
 *
 *     cc dlopen.c $(pkg-config --cflags busy) -ldl -o dlopen
 *     ./dlopen                            finds it as the dynamic linker does, see ld.so(8)
 *     ./dlopen /opt/busy/lib/libbusy.so.1
 */

#include <busy.h>

#include <dlfcn.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The types are the header's own, so it and this program cannot disagree. C23 has it as typeof. */
static __typeof__(busy_abi_version) *abi_version;
static __typeof__(busy_strerror) *status_text;
static __typeof__(busy_version) *release;
static __typeof__(busy_wait_ns) *wait_ns;

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("dlopen: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nInstall libbusy %d.%d or a later %d.x, or give its file: dlopen /path/to/libbusy.so.%d\n",
            BUSY_ABI_MAJOR, BUSY_ABI_MINOR, BUSY_ABI_MAJOR, BUSY_ABI_MAJOR);
    exit(EXIT_FAILURE);
}

/* Stores the address of `symbol` in `*function`; false if the library has none. memcpy(3), because ISO C has no
 * conversion from the void * of dlsym(3) to a function; POSIX promises that the two have one representation. */
static int look_up(void *library, const char *symbol, void *function)
{
    void *address = dlsym(library, symbol);
    memcpy(function, &address, sizeof address);
    return address != NULL;
}

static void demand(void *library, const char *path, const char *symbol, void *function)
{
    if (!look_up(library, symbol, function))
        fail("%s says that it has ABI %d.%d but lacks %s", path, BUSY_ABI_MAJOR, BUSY_ABI_MINOR, symbol);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "libbusy.so.1";

    /* RTLD_NOW: what the library itself lacks is told here and not by a crash in the first call. */
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        fail("cannot open libbusy: %s", dlerror());

    /* The version comes first: of another major one, no other function can be trusted to have the type in busy.h. */
    if (!look_up(library, "busy_abi_version", &abi_version))
        fail("%s is a library but not libbusy: it lacks busy_abi_version", path);
    uint32_t version = abi_version();
    if (!BUSY_ABI_COMPATIBLE(version))
        fail("%s has ABI %" PRIu32 ".%" PRIu32 ", expected %d.%d or a later %d.x", path, version >> 16,
             version & 0xffff, BUSY_ABI_MAJOR, BUSY_ABI_MINOR, BUSY_ABI_MAJOR);

    demand(library, path, "busy_strerror", &status_text);
    demand(library, path, "busy_version", &release);
    demand(library, path, "busy_wait_ns", &wait_ns);

    busy_wait_result result;
    busy_status status = wait_ns(1000000, NULL, &result);
    if (status != BUSY_OK)
        fail("busy_wait_ns: %s", status_text(status));
    printf("libbusy %s, ABI %" PRIu32 ".%" PRIu32 ": %" PRIu64 " polls in %" PRIu64 " ns\n", release(), version >> 16,
           version & 0xffff, result.count, result.elapsed_ns);

    /* No dlclose(): libbusy is linked with -z nodelete and would stay mapped. */
    return 0;
}
