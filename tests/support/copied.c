/* Counts the bytes that a program copies in memory: loaded before the C library (LD_PRELOAD), it
 * answers for memcpy and memmove, which every copy of a length that isn't known to the compiler
 * goes through, in Rust and in C alike. What a call copies of less than a page is not counted:
 * such copies are of structures, not of content. The sum is written at exit to the file that
 * COPIED_TOLD names.
 *
 * Built with -fno-builtin and -fno-tree-loop-distribute-patterns: the loops below would otherwise
 * become calls of themselves.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_ullong copied;

void *memmove(void *to, const void *from, size_t len)
{
    unsigned char *target = to;
    const unsigned char *source = from;
    if (len >= 4096)
        atomic_fetch_add_explicit(&copied, len, memory_order_relaxed);
    if (target <= source || target >= source + len)
        for (size_t at = 0; at < len; at++)
            target[at] = source[at];
    else
        while (len-- > 0)
            target[len] = source[len];
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
    return memmove(to, from, len);
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("COPIED_TOLD");
    FILE *told = path == NULL ? NULL : fopen(path, "w");
    if (told == NULL)
        return;
    fprintf(told, "%llu\n", atomic_load(&copied));
    fclose(told);
}
