/* Preloaded, as on a kernel without huge pages: madvise(2) then refuses MADV_NOHUGEPAGE. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int madvise(void *address, size_t length, int advice)
{
    if (advice == MADV_NOHUGEPAGE) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_madvise, address, length, advice);
}
