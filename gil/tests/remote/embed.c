/* A program that loads, initializes, runs, finalizes and unloads a Python, as each line of stdin requests. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    char line[256];
    void *library = NULL;

    if (argc != 2)
        return 2;
    puts("ready");
    while (fflush(stdout) == 0 && fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "load") == 0) {
            library = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
            if (library == NULL) {
                puts(dlerror());
                continue;
            }
        } else if (strcmp(line, "initialize") == 0) {
            ((void (*)(int))dlsym(library, "Py_InitializeEx"))(0);
        } else if (strcmp(line, "finalize") == 0) {
            ((void (*)(void))dlsym(library, "Py_Finalize"))();
        } else if (strcmp(line, "unload") == 0) {
            dlclose(library);
        } else if (((int (*)(const char *))dlsym(library, "PyRun_SimpleString"))(line) != 0) {
            puts("failed");
            continue;
        }
        puts("done");
    }
    return 0;
}
