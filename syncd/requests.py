"""What people ask for through syncctl, carried out: each is a row in the ledger that gets its answer.

Top floor, beside the daemon: it joins ledger, watch (which file is this?) and dispatch.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from syncd.config import Config, hidden_folder
from syncd.domain import AnalysisSettings, Failure, JobState, MediaFile, Pair, Priority
from syncd.errand import Errand, Question
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.enqueue import ELSEWHERE_S, deserted_job_id
from syncd.ledger.ledger import Ledger
from syncd.ledger.records import Request, RequestKind, path_from_json
from syncd.supervisor.dispatch import Dispatcher
from syncd.watch.examine import identify_side
from syncd.watch.pairing import match_in

log = structlog.get_logger()

Payload = Mapping[str, object]
Outcome = dict[str, object]

MAX_JOB_ID: Final = 2**63 - 1
INTERVAL_S: Final = 0.2
"""How often the ledger is asked for new requests at most."""
LOOK_S: Final = 0.05
"""How long the main loop waits for a look at files; nearly all take a hundredth of it."""
LOOKS_AT_ONCE: Final = 16
"""So many may hang before others have to wait."""


class RequestDesk:
    """Serves the rows of the table `requests`, in order; only a pair whose folder hangs lets others go first."""

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher, config: Config, wake: Callable[[], None]) -> None:
        self.config = config
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._wake = wake
        self._next_s = 0.0
        self._looks: dict[int, Errand[tuple[MediaFile, MediaFile]]] = {}
        """At the files of pairs that are submitted."""
        self._looks_elsewhere: dict[int, Question[int | None]] = {}
        """For the job that is to be taken along to the pair's new place."""
        self._unanswered: dict[int, tuple[Outcome | None, Failure | None]] = {}
        """Carried out, and not yet written down as such (a full disk): not to be carried out again."""
        self._verbs: dict[RequestKind, Callable[[Payload, float], Outcome]] = {
            RequestKind.RETRY: self._retry,
            RequestKind.CANCEL: self._cancel,
            RequestKind.PRIORITY: self._priority,
            RequestKind.PAUSE: self._pause,
            RequestKind.RESUME: self._resume,
        }

    def serve(self, now_s: float) -> None:
        """Carry out what has come in since; a request at fault gets its error, and the next its turn."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + INTERVAL_S
        for request in self._ledger.requests.pending():
            if request.kind is RequestKind.PRUNE:
                continue  # The upkeep's, a little at a time.
            if request.request_id not in self._unanswered:
                if request.kind is RequestKind.SUBMIT and not self._has_looked(request):
                    continue
                answer = self._carry_out(request, now_s)
                if answer is None:
                    continue
                self._unanswered[request.request_id] = answer
            outcome, error = self._unanswered[request.request_id]
            self._ledger.requests.finish(request.request_id, outcome=outcome, error=error)
            del self._unanswered[request.request_id]

    def _has_looked(self, request: Request) -> bool:
        """Whether it is known which versions of its files lie there, or why not."""
        look = self._looks.get(request.request_id)
        if look is not None:
            return look.wait(0.0)
        if sum(not each.wait(0.0) for each in self._looks.values()) >= LOOKS_AT_ONCE:
            return False
        is_reported_beside = self.config.reports.fallback is None
        sides = partial(_sides, request.payload, is_reported_beside=is_reported_beside)
        look = self._looks[request.request_id] = Errand(sides, self._wake)
        return look.wait(LOOK_S)

    def _carry_out(self, request: Request, now_s: float) -> tuple[Outcome | None, Failure | None] | None:
        """None: the answer has to wait for another look."""
        try:
            if request.kind is RequestKind.SUBMIT:
                outcome = self._submit(request.request_id, request.payload, now_s)
                if outcome is None:
                    return None
            else:
                outcome = self._verbs[request.kind](request.payload, now_s)
        except SyncdError as error:
            failure = Failure(error.code, error.message, error.details)
        except (KeyError, TypeError, ValueError) as error:
            failure = Failure(ErrorCode.USAGE, f"The request is not understood: {error}.")
        except Exception as error:  # a request must never end the daemon: it would meet it again at every start
            log.exception("request_broke", request=request.request_id)
            failure = Failure(ErrorCode.INTERNAL, f"The request could not be carried out ({type(error).__name__}).")
        else:
            self._forget_looks(request.request_id)
            log.info("request", kind=request.kind.value, request=request.request_id)
            return outcome, None
        self._forget_looks(request.request_id)
        log.warning("request_refused", kind=request.kind.value, request=request.request_id, reason=failure.message)
        return None, failure

    def _forget_looks(self, request_id: int) -> None:
        self._looks.pop(request_id, None)
        self._looks_elsewhere.pop(request_id, None)

    def _submit(self, request_id: int, payload: Payload, now_s: float) -> Outcome | None:
        """What it does not say of a pair that a watched folder would find, that folder says: they are one job."""
        master, dub = self._looks[request_id].answer()
        limit = self.config.limits.max_queued
        if limit is not None and self._ledger.queued_count() >= limit:
            raise SyncdError(ErrorCode.QUEUE_FULL, f"{limit} jobs are waiting already.")
        found = match_in(self.config.watch, master, dub)
        folders, named = found if found is not None else (None, None)
        profile = str(payload.get("profile") or ("default" if folders is None else folders.profile))
        if profile not in self.config.profiles:
            raise SyncdError(ErrorCode.USAGE, f"There is no profile named {profile}.")
        settings = self.config.profiles[profile].to_settings()
        pair = Pair(
            title=str(payload.get("title") or (master.path.stem if named is None else named.title)),
            master=master,
            dub=dub,
            language=_text(payload.get("language") or (None if named is None else named.language)),
            master_track=_number(payload.get("master_track")),
            dub_track=_number(payload.get("dub_track")),
        )
        elsewhere = self._look_elsewhere(request_id, pair, profile, settings)
        if elsewhere is not None and not elsewhere.is_over(now_s):
            return None
        enqueued = self._ledger.enqueue(
            pair,
            profile=profile,
            settings=settings,
            priority=Priority(str(payload.get("priority") or Priority.NORMAL)),
            force=bool(payload.get("force")),
            origin="submit",
            deserted_job_id=None if elsewhere is None else elsewhere.answer(),
        )
        for job_id in enqueued.superseded_running:
            self._dispatcher.call_off(job_id, now_s)
        return {"job_id": enqueued.job_id, "created": enqueued.created}

    def _look_elsewhere(
        self, request_id: int, pair: Pair, profile: str, settings: AnalysisSettings
    ) -> Question[int | None] | None:
        """At the place where a queued job looks for the same versions; None: there is none."""
        if request_id not in self._looks_elsewhere:
            elsewhere = self._ledger.acquaintance(pair, profile=profile, settings=settings).elsewhere
            if elsewhere is None:
                return None
            errand = Errand(partial(deserted_job_id, elsewhere), self._wake)
            errand.wait(LOOK_S)
            self._looks_elsewhere[request_id] = Question(errand, time.monotonic() + ELSEWHERE_S, None)
        return self._looks_elsewhere[request_id]

    def _retry(self, payload: Payload, _now_s: float) -> Outcome:
        made = {}
        for job_id in self._job_ids(payload):
            made[str(job_id)] = self._ledger.retry_as_new(job_id, force=True)
        return {"jobs": made}

    def _cancel(self, payload: Payload, now_s: float) -> Outcome:
        canceled: list[int] = []
        left: list[int] = []
        for job_id in self._job_ids(payload):
            before = self._ledger.cancel(job_id)
            if before is JobState.RUNNING:
                self._dispatcher.call_off(job_id, now_s)
            (canceled if before in (JobState.QUEUED, JobState.RUNNING) else left).append(job_id)
        return {"canceled": canceled, "already_final": left}

    def _priority(self, payload: Payload, _now_s: float) -> Outcome:
        priority = Priority(str(payload["priority"]))
        changed = [job_id for job_id in self._job_ids(payload) if self._ledger.set_priority(job_id, priority)]
        return {"changed": changed, "priority": priority.value}

    def _pause(self, _payload: Payload, _now_s: float) -> Outcome:
        self._ledger.set_paused(True)
        return {"paused": True}

    def _resume(self, _payload: Payload, _now_s: float) -> Outcome:
        self._ledger.set_paused(False)
        return {"paused": False}

    def _job_ids(self, payload: Payload) -> list[int]:
        ids = payload.get("job_ids")
        if not isinstance(ids, list) or not all(isinstance(job_id, int) for job_id in ids):
            raise SyncdError(ErrorCode.USAGE, "The request names no jobs.")
        for job_id in ids:
            if not 0 < job_id <= MAX_JOB_ID or self._ledger.state(job_id) is None:
                raise SyncdError(ErrorCode.NOT_FOUND, f"There is no job {job_id}.")
        return ids


def _sides(payload: Payload, *, is_reported_beside: bool) -> tuple[MediaFile, MediaFile]:
    master, dub = _file(payload["master"]), _file(payload["dub"])
    if is_reported_beside and not os.access(folder := dub.path.parent, os.W_OK):
        raise SyncdError(ErrorCode.PERMISSION_DENIED, _why_no_report(folder))
    return master, dub


def _file(value: object) -> MediaFile:
    path = path_from_json(value)
    if not path.is_absolute():
        raise SyncdError(ErrorCode.USAGE, f"{path} is not an absolute path.")
    try:
        return identify_side(path)
    except SyncdError as error:
        raise SyncdError(error.code, _as_the_service_sees_it(error, path), error.details) from error


def _as_the_service_sees_it(error: SyncdError, path: Path) -> str:
    """Whoever asks may well read the file."""
    if error.code not in {ErrorCode.PERMISSION_DENIED, ErrorCode.FILE_NOT_FOUND}:
        return error.message
    hidden = hidden_folder(path)
    unit = f"; under systemd its unit keeps {hidden} from it: put the pair elsewhere" if hidden is not None else ""
    if error.code is ErrorCode.FILE_NOT_FOUND:
        return f"The service finds no file at {path}{unit}."
    closed = next((above for above in reversed(path.parents) if not os.access(above, os.X_OK)), None)
    where = f" (it may not enter {closed})" if closed is not None else ""
    return f"The service, which runs as the user {_own_name()}, may not read {path}{where}{unit}."


def _why_no_report(folder: Path) -> str:
    """What the first report would meet, said before anything is measured."""
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return (
            f"{folder} is read-only for the service, so no report could be written beside the dub; where the unit "
            "keeps it so, name it in ReadWritePaths= ('systemctl edit syncd') and restart, or set reports.fallback."
        )
    return (
        f"The service, which runs as the user {_own_name()}, may not write to {folder}, so no report could be written "
        "beside the dub."
    )


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _number(value: object) -> int | None:
    return None if value is None else int(str(value))
