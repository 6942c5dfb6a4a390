/* What the measuring programs share: symbols of shared libraries, order statistics, figures as one JSON object. */

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

/* Sorts `values`; `share` from 0 to 1. */
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

/* `what` is a row or the beginning of several; NULL if nothing is missing. */
static inline void figures_end(const char *what, const char *why)
{
    printf("}, \"missing\": {");
    if (what)
        printf("\"%s\": \"%s\"", what, why);
    printf("}}\n");
}

#endif
