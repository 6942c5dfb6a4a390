/* Prints the offsets of the fields that the reader of stacks uses, one line `name value` each, from the headers of one
 * interpreter. The test compares them with the reader's table. */
#define Py_BUILD_CORE 1
#include <Python.h>
#include <frameobject.h>
#include <stddef.h>
#include <stdio.h>

#if PY_VERSION_HEX < 0x03080000
#if PY_VERSION_HEX >= 0x03070000
#include <internal/pystate.h>
#endif
#elif PY_VERSION_HEX < 0x03090000
#include <internal/pycore_pystate.h>
#else
#include <internal/pycore_interp.h>
#include <internal/pycore_runtime.h>
#endif
#if PY_VERSION_HEX >= 0x030E0000
#include <internal/pycore_interpframe_structs.h>
#elif PY_VERSION_HEX >= 0x030B0000
#include <internal/pycore_frame.h>
#endif

#define FIELD(name, type, field) printf("%s %zu\n", name, offsetof(type, field))

int main(void) {
#if PY_VERSION_HEX >= 0x03070000
    FIELD("interpreters_head", struct pyruntimestate, interpreters.head);
    FIELD("interpreter_next", PyInterpreterState, next);
    FIELD("interpreter_id", PyInterpreterState, id);
#endif
#if PY_VERSION_HEX >= 0x030B0000
    FIELD("interpreter_threads", PyInterpreterState, threads.head);
#else
    FIELD("interpreter_threads", PyInterpreterState, tstate_head);
#endif
    FIELD("thread_next", PyThreadState, next);
    FIELD("thread_interpreter", PyThreadState, interp);
#if PY_VERSION_HEX < 0x030B0000
    FIELD("thread_frame", PyThreadState, frame);
    FIELD("frame_previous", struct _frame, f_back);
    FIELD("frame_code", struct _frame, f_code);
    FIELD("frame_instruction", struct _frame, f_lasti);
#else
#if PY_VERSION_HEX < 0x030D0000
    FIELD("thread_frame", PyThreadState, cframe);
    FIELD("cframe_frame", _PyCFrame, current_frame);
    printf("cframe_previous_behind_frame %zu\n", offsetof(_PyCFrame, previous) - offsetof(_PyCFrame, current_frame));
    FIELD("frame_code", struct _PyInterpreterFrame, f_code);
    FIELD("frame_instruction", struct _PyInterpreterFrame, prev_instr);
#else
    FIELD("thread_frame", PyThreadState, current_frame);
    FIELD("frame_code", struct _PyInterpreterFrame, f_executable);
    FIELD("frame_instruction", struct _PyInterpreterFrame, instr_ptr);
#endif
    FIELD("thread_chunk", PyThreadState, datastack_chunk);
    FIELD("thread_top", PyThreadState, datastack_top);
    FIELD("frame_previous", struct _PyInterpreterFrame, previous);
    FIELD("frame_owner", struct _PyInterpreterFrame, owner);
    FIELD("code_first_traceable", PyCodeObject, _co_firsttraceable);
    FIELD("code_bytecode", PyCodeObject, co_code_adaptive);
    FIELD("code_function", PyCodeObject, co_qualname);
#endif
#if PY_VERSION_HEX < 0x030B0000
    FIELD("code_function", PyCodeObject, co_name);
#elif PY_VERSION_HEX < 0x030C0000
    FIELD("code_warmup", PyCodeObject, co_warmup);
#endif
#if PY_VERSION_HEX >= 0x030A0000
    FIELD("code_line_table", PyCodeObject, co_linetable);
#else
    FIELD("code_line_table", PyCodeObject, co_lnotab);
#endif
    FIELD("code_file", PyCodeObject, co_filename);
    FIELD("code_flags", PyCodeObject, co_flags);
    FIELD("code_first_line", PyCodeObject, co_firstlineno);
    FIELD("object_type", PyObject, ob_type);
    FIELD("type_name", PyTypeObject, tp_name);
#if PY_MAJOR_VERSION >= 3
    printf("text_ascii %zu\n", sizeof(PyASCIIObject));
    printf("text_compact %zu\n", sizeof(PyCompactUnicodeObject));
    FIELD("text_length", PyASCIIObject, length);
    FIELD("text_state", PyASCIIObject, state);
    FIELD("bytes_length", PyBytesObject, ob_base.ob_size);
    FIELD("bytes_data", PyBytesObject, ob_sval);
#else
    FIELD("bytes_length", PyStringObject, ob_size);
    FIELD("bytes_data", PyStringObject, ob_sval);
#endif
    return 0;
}
