/* The talk's extension module on top of libbusy, written by hand with CPython's C API. One file serves CPython 2.7 and
 * 3.6 to 3.15, and PyPy.
 *
 *     cc -shared -fPIC python_extension.c $(python3-config --includes) $(pkg-config --cflags --libs busy) \
 *         -Wl,-rpath,$(pkg-config --variable=libdir busy) -lm -o busy_c.so
 *     python3 -c 'import busy_c; print(busy_c.without_lock(0.5))'
 *
 * The module is the reference for the PyO3 module `busy`, whose waits also end at Ctrl-C. A wait of this module is not
 * interrupted, because nothing calls PyErr_CheckSignals() during it. KeyboardInterrupt follows when the wait returns.
 */

#include <Python.h> /* must come first: it defines feature macros that affect the other headers */

#include <busy.h>

#include <math.h>

/* Converts seconds to nanoseconds, and rounds up, so that no wait ends early. The whole seconds and the fraction are
 * converted separately, because a double can't represent every whole number of nanoseconds above 2^53. The product
 * `fraction * 1e9` may have been rounded to a whole number; fma() compares it exactly. */
static int nanoseconds(PyObject *argument, uint64_t *ns)
{
    const double seconds = PyFloat_AsDouble(argument);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (!isfinite(seconds) || seconds < 0) {
        PyErr_SetString(PyExc_ValueError, "expected 0 or more seconds, found a negative number, an infinity or NaN");
        return -1;
    }
    if (seconds < (double)(BUSY_WAIT_MAX_NS / 1000000000 + 1)) {
        const uint64_t whole = (uint64_t)seconds;
        const double fraction = seconds - (double)whole;
        const uint64_t rest = (uint64_t)(fraction * 1e9);
        *ns = whole * 1000000000 + rest;
        *ns += fma(fraction, 1e9, -(double)rest) > 0;
        if (*ns <= BUSY_WAIT_MAX_NS)
            return 0;
    }
    PyErr_SetString(PyExc_OverflowError, "expected at most 9223372036.854775 seconds, found more");
    return -1;
}

static PyObject *count_or_error(busy_status status, uint64_t count)
{
    if (status != BUSY_OK)
        return PyErr_Format(PyExc_RuntimeError, "busy_wait_ns: %s", busy_strerror(status));
#if PY_MAJOR_VERSION < 3
    /* Python 2 has a second, slower type for numbers that do not fit into a C long. */
    if (count <= LONG_MAX)
        return PyInt_FromLong((long)count);
#endif
    return PyLong_FromUnsignedLongLong(count);
}

static PyObject *with_lock(PyObject *self, PyObject *seconds)
{
    uint64_t ns;
    busy_wait_result result;
    (void)self;
    if (nanoseconds(seconds, &ns) < 0)
        return NULL;
    busy_status status = busy_wait_ns(ns, NULL, &result);
    return count_or_error(status, result.count);
}

static PyObject *without_lock(PyObject *self, PyObject *seconds)
{
    uint64_t ns;
    busy_wait_result result;
    busy_status status;
    (void)self;
    if (nanoseconds(seconds, &ns) < 0)
        return NULL;
    /* Between the two macros the thread does not hold the GIL, so the code there must not touch a Python object. */
    Py_BEGIN_ALLOW_THREADS
    status = busy_wait_ns(ns, NULL, &result);
    Py_END_ALLOW_THREADS
    return count_or_error(status, result.count);
}

PyDoc_STRVAR(module_doc, "Busy waits on libbusy that hold the GIL or release it. Ctrl-C does not end them.");
PyDoc_STRVAR(with_lock_doc,
             "with_lock(seconds, /)\n--\n\nSpin for seconds, holding the GIL; return the number of polls.");
PyDoc_STRVAR(without_lock_doc,
             "without_lock(seconds, /)\n--\n\nSpin for seconds with the GIL released; return the number of polls.");

static PyMethodDef methods[] = {
    {"with_lock", with_lock, METH_O, with_lock_doc},
    {"without_lock", without_lock, METH_O, without_lock_doc},
    {NULL, NULL, 0, NULL},
};

#if PY_MAJOR_VERSION < 3

PyMODINIT_FUNC initbusy_c(void)
{
    Py_InitModule3("busy_c", methods, module_doc);
}

#else

/* Neither the module nor libbusy has state, so the module can declare both. */
static PyModuleDef_Slot slots[] = {
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED}, /* PEP 684 */
#endif
#if PY_VERSION_HEX >= 0x030d0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* PEP 703 */
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "busy_c",
    .m_doc = module_doc,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit_busy_c(void)
{
    return PyModuleDef_Init(&module); /* multi-phase initialisation, PEP 489 */
}

#endif
