"""docs/errors.md, from syncd/errors.py and the rule of what is tried again."""

from __future__ import annotations

from syncd.domain import Failure
from syncd.errors import ErrorCode, ErrorKind, error_advice, error_exit_code, error_kind
from syncd.supervisor.retry import FILE_CHANGED_DELAY_S, TryAgain, after_failure
from tests.docs.wording import NOTE, attribute_docs, linked, table

HEAD = """\
# Errors: what happened, and what to do

Each error has a stable code: the same in the ledger (`syncctl list`, `syncctl show`), in the report (`error.code`), in
what commands print, in the log (`code=`) and in metrics (`code`). Beside it stands one sentence that says what
happened, by name, and one that says what to do.

«Tried again»: whether syncd makes another attempt by itself, at most `workers.max_attempts` in all; after crashes,
stalls and shortages of memory the ladder decides ([what can go wrong](what-can-go-wrong.md)). After «no» the job is
`failed`, with a report; `syncctl retry ID` starts it anew.
"""
TITLES = {
    ErrorKind.MEDIA: "The media's\n\nThe file is at fault, and trying again changes nothing.",
    ErrorKind.MACHINERY: "The machinery's\n\nA process, a disk or a device failed.",
    ErrorKind.OPERATOR: "The operator's\n\nA command or the configuration is wrong: refused at once.",
}
NEVER_A_JOBS = {
    ErrorCode.AMBIGUOUS_PAIR: "there is no job",
    ErrorCode.FOLDER_STALLED: "waits until it answers",
    ErrorCode.WATCH_LIMIT: "there is no job",
    ErrorCode.MODEL_UNAVAILABLE: "no, the report is complete but for it",
    ErrorCode.INTERRUPTED: "no more: it was, ten times",
}


def page() -> str:
    docs = attribute_docs(ErrorCode)
    parts = [NOTE.format("syncd/errors.py"), HEAD]
    for kind in ErrorKind:
        rows = [
            (f"`{code.value}`", docs[code.name], linked(error_advice(code)), _again(code), f"{error_exit_code(code)}")
            for code in ErrorCode
            if error_kind(code) is kind
        ]
        parts.append(f"\n## {TITLES[kind]}\n\n")
        parts.append(table(("code", "what happened", "what to do", "tried again", "exit status"), rows))
    return "".join(parts)


def _again(code: ErrorCode) -> str:
    if code in NEVER_A_JOBS:
        return NEVER_A_JOBS[code]
    if error_kind(code) is ErrorKind.OPERATOR:
        return "no"
    if code is ErrorCode.FILE_CHANGED:
        return f"yes, after {FILE_CHANGED_DELAY_S:g} s"
    return "yes" if isinstance(after_failure(Failure(code, ""), 1, 3), TryAgain) else "no"
