/* Shared by the measuring programs: symbols of shared libraries, order statistics, and figures as one JSON object. */

#ifndef HARNESS_H
#define HARNESS_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static inline void *symbol(const char *library, const char *name)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    void *found = handle ? dlsym(handle, name) : NULL;
    if (!found) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return found;
}

static inline int by_size(const void *one, const void *other)
{
    const double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

/* Returns the quantile at `share`, which is from 0 to 1. Sorts `values`. */
static inline double quantile(double *values, size_t count, double share)
{
    qsort(values, count, sizeof *values, by_size);
    const double place = share * (double)(count - 1);
    const size_t below = (size_t)place;
    const double above = values[below + 1 < count ? below + 1 : below];
    return values[below] + (above - values[below]) * (place - (double)below);
}

static inline void figures_begin(void)
{
    printf("{\"figures\": {");
}

static inline void figure(const char *name, double ours, double theirs)
{
    static const char *separator = "";
    printf("%s\"%s\": [%.9g, %.9g]", separator, name, ours, theirs);
    separator = ", ";
}

/* `row` is the name of a missing row or a common prefix of several, NULL if no row is missing. */
static inline void figures_end(const char *row, const char *reason)
{
    printf("}, \"missing\": {");
    if (row)
        printf("\"%s\": \"%s\"", row, reason);
    printf("}}\n");
}

#endif
