/* The functions of `import busy` as a hand-written extension module, with both common calling conventions:
 * METH_VARARGS with PyArg_ParseTuple, as in tutorials and in the talk, and METH_O, which is the cheapest. Compiled for one
 * Python version, not for the stable ABI. It does not handle Ctrl-C, and its errors do not explain wrong arguments.
 */

#include <Python.h> /* before all other headers, because it defines feature macros that affect them */

#include "spin.h"

static PyObject *spin(double seconds)
{
    uint64_t ns;
    if (to_nanoseconds(seconds, &ns) < 0)
        return PyErr_Format(PyExc_ValueError, "expected zero or more seconds, up to 292 years");
    return PyLong_FromUnsignedLongLong(spin_seconds_of(ns));
}

static PyObject *spin_released(double seconds)
{
    uint64_t ns, count;
    if (to_nanoseconds(seconds, &ns) < 0)
        return PyErr_Format(PyExc_ValueError, "expected zero or more seconds, up to 292 years");
    Py_BEGIN_ALLOW_THREADS
    count = spin_seconds_of(ns);
    Py_END_ALLOW_THREADS
    return PyLong_FromUnsignedLongLong(count);
}

static PyObject *with_lock_varargs(PyObject *self, PyObject *arguments)
{
    double seconds;
    (void)self;
    return PyArg_ParseTuple(arguments, "d", &seconds) ? spin(seconds) : NULL;
}

static PyObject *without_lock_varargs(PyObject *self, PyObject *arguments)
{
    double seconds;
    (void)self;
    return PyArg_ParseTuple(arguments, "d", &seconds) ? spin_released(seconds) : NULL;
}

static PyObject *with_lock_o(PyObject *self, PyObject *argument)
{
    const double seconds = PyFloat_AsDouble(argument);
    (void)self;
    return seconds == -1.0 && PyErr_Occurred() ? NULL : spin(seconds);
}

static PyObject *without_lock_o(PyObject *self, PyObject *argument)
{
    const double seconds = PyFloat_AsDouble(argument);
    (void)self;
    return seconds == -1.0 && PyErr_Occurred() ? NULL : spin_released(seconds);
}

static PyMethodDef methods[] = {
    {"with_lock_varargs", with_lock_varargs, METH_VARARGS, NULL},
    {"without_lock_varargs", without_lock_varargs, METH_VARARGS, NULL},
    {"with_lock_o", with_lock_o, METH_O, NULL},
    {"without_lock_o", without_lock_o, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "calls",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit_calls(void)
{
    return PyModuleDef_Init(&module);
}
