"""Refused arguments where PyGILState_Ensure does not work: in a subinterpreter, and at the interpreter's shutdown."""

REFUSALS = '''
import json
import busy

class Own:
    def __float__(self):
        raise RuntimeError("own")

def refusals(
    # These are default arguments, since globals are cleared first at shutdown.
    functions=(busy.with_lock, busy.without_lock),
    arguments=(-1, float("nan"), 1e300, 10**400, -(10**400), "1", None, Own()),
    dumps=json.dumps,
):
    """Returns the type and the text of each exception and of its cause, as JSON."""
    found = []
    for function in functions:
        for argument in arguments:
            try:
                function(argument)
            except Exception as error:
                cause = error.__cause__
                found.append([type(error).__name__, str(error), type(cause).__name__, str(cause)])
        assert function(0.001) > 0
    return dumps(found)
'''


def expected():
    """Returns the refusals in this interpreter, which is the main interpreter and is not shutting down."""
    names = {}
    exec(REFUSALS, names)
    found = names["refusals"]()
    assert found.count("Error") >= 16
    return found


def test_the_errors_are_the_same_in_an_interpreter_that_shares_the_gil(child):
    other = child(
        """
        if sys.version_info >= (3, 13):
            import _interpreters as interpreters
            other = interpreters.create("legacy")
        else:
            import _xxsubinterpreters as interpreters
            other = interpreters.create(**({"isolated": False} if sys.version_info >= (3, 12) else {}))
        interpreters.run_string(other, sys.argv[1])
        interpreters.destroy(other)
        """,
        REFUSALS + "print(refusals())",
    )
    code, err = other.end()
    assert (code, err, other.out.rstrip()) == (0, "", expected())


def test_the_errors_are_the_same_while_the_interpreter_shuts_down(child):
    # Py_IsInitialized() is false by the time that the globals are cleared.
    other = child(
        REFUSALS
        + """
class AtTheEnd:
    def __del__(self, refusals=refusals, write=os.write):
        write(1, refusals().encode())
at_the_end = AtTheEnd()
"""
    )
    code, err = other.end()
    assert (code, err, other.out) == (0, "", expected())
