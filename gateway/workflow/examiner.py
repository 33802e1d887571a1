"""The program that opens one document (see examination.py): ``python -m gateway.workflow.examiner``.

The document comes by standard input; what is wrong with it leaves by standard output. Beyond a decoder it imports
next to nothing, so that it starts at once.
"""

import resource
import sys


def main(memory_bytes: int, cpu_seconds: int, content_type: str) -> None:
    """Ends with a status other than 0, or by a signal, where a limit was reached."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CPU, cpu_seconds)
    _limit(resource.RLIMIT_AS, memory_bytes)
    from mappings.document_legibility import problem_of as look

    said = look(sys.stdin.buffer.read(), content_type)
    sys.stdout.buffer.write(said.encode())


def _limit(kind: int, wanted: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
