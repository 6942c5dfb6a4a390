/* Opens libbusy at run time, for a program that must also start where libbusy is not installed.
 *
 *     cc dlopen.c $(pkg-config --cflags busy) -ldl -o dlopen
 *     ./dlopen                            searches like the dynamic linker, see ld.so(8)
 *     ./dlopen /opt/busy/lib/libbusy.so.1
 */

#include <busy.h>

#include <dlfcn.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The types come from the header, so the program cannot contradict it. In C23, __typeof__ is typeof. */
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

/* Stores the address of `symbol` in `*function`. Returns false if the library does not define the symbol. It uses
 * memcpy(3), because ISO C cannot convert the void * of dlsym(3) to a function pointer. POSIX guarantees that both have
 * the same representation. */
static int look_up(void *library, const char *symbol, void *function)
{
    void *address = dlsym(library, symbol);
    memcpy(function, &address, sizeof address);
    return address != NULL;
}

static void require(void *library, const char *path, const char *symbol, void *function)
{
    if (!look_up(library, symbol, function))
        fail("%s reports ABI %d.%d but lacks %s", path, BUSY_ABI_MAJOR, BUSY_ABI_MINOR, symbol);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "libbusy.so.1";

    /* RTLD_NOW: a symbol that the library itself lacks is reported here, and does not crash the first call. */
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        fail("cannot open libbusy: %s", dlerror());

    /* Check the version first: with another major version, the other functions may not have the types of busy.h. */
    if (!look_up(library, "busy_abi_version", &abi_version))
        fail("%s is a library but not libbusy: it lacks busy_abi_version", path);
    uint32_t version = abi_version();
    if (!BUSY_ABI_COMPATIBLE(version))
        fail("%s has ABI %" PRIu32 ".%" PRIu32 ", expected %d.%d or a later %d.x", path, version >> 16,
             version & 0xffff, BUSY_ABI_MAJOR, BUSY_ABI_MINOR, BUSY_ABI_MAJOR);

    require(library, path, "busy_strerror", &status_text);
    require(library, path, "busy_version", &release);
    require(library, path, "busy_wait_ns", &wait_ns);

    busy_wait_result result;
    busy_status status = wait_ns(1000000, NULL, &result);
    if (status != BUSY_OK)
        fail("busy_wait_ns: %s", status_text(status));
    printf("libbusy %s, ABI %" PRIu32 ".%" PRIu32 ": %" PRIu64 " polls in %" PRIu64 " ns\n", release(), version >> 16,
           version & 0xffff, result.count, result.elapsed_ns);

    /* No dlclose(): libbusy is linked with -z nodelete, so it would stay mapped. */
    return 0;
}
