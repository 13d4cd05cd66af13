"""Every exception Swapboard raises on purpose.

SwapboardError
├── SettingsError               a setting is unknown or malformed; the start stops
├── BaseModelError              the base cannot be found, loaded or served
├── AdapterError
│   ├── UnknownAdapter          no adapter of that name; lists near matches
│   ├── AdapterBroken           the folder is in the catalogue but cannot be used
│   ├── AdapterRejected         an upload is refused; nothing of it is kept
│   ├── AdapterTooLarge         larger than the whole pool budget
│   └── AdapterConflict         the operation clashes with the adapter's state
├── RequestError
│   ├── InvalidRequest          a field is wrong; names it and what is allowed
│   ├── BodyTooLarge            a request is longer than any can be that is answered
│   ├── ForeignOrigin           a browser sends it for the page of another site
│   ├── PromptTooLong           the prompt does not fit the context; gives the counts
│   └── QueueFull               too many requests wait; says when to retry
├── NotFound                    no such conversation, turn, document or comparison
├── DocumentRejected            a file cannot be taken into the library; names it and the reason
├── NothingRelevant             no passage of the documents fits the question
├── StoreUnavailable            the database is locked, full or gone; nothing was saved
├── EngineError
│   ├── EngineStopped           the engine is shutting down, or cannot go on
│   └── EngineFailed            a step failed; the request cannot be completed
├── BackendError                a remote backend did not answer as agreed
├── DataError                   a data file is wrong; names file and line
├── TrainingDiverged            what was trained holds no numbers any more; it is not published
└── EvaluationError             an evaluation cannot be run, or ran on nothing

`status` is the HTTP status the API answers with, `code` the word clients match on.
"""

from __future__ import annotations


class SwapboardError(Exception):
    status = 500
    code = "internal_error"


class SettingsError(SwapboardError):
    code = "invalid_settings"


class BaseModelError(SwapboardError):
    code = "base_model_error"


class AdapterError(SwapboardError):
    status = 400
    code = "adapter_error"


class UnknownAdapter(AdapterError):
    status = 404
    code = "model_not_found"


class AdapterBroken(AdapterError):
    status = 409
    code = "adapter_broken"


class AdapterRejected(AdapterError):
    status = 400
    code = "adapter_rejected"


class AdapterTooLarge(AdapterError):
    status = 413
    code = "adapter_too_large"


class AdapterConflict(AdapterError):
    status = 409
    code = "adapter_conflict"


class RequestError(SwapboardError):
    status = 400
    code = "invalid_request"


class InvalidRequest(RequestError):
    pass


class BodyTooLarge(RequestError):
    status = 413
    code = "body_too_large"


class ForeignOrigin(RequestError):
    status = 403
    code = "foreign_origin"


class PromptTooLong(RequestError):
    code = "context_length_exceeded"


class QueueFull(RequestError):
    """`retry_after` is in whole seconds."""

    status = 429
    code = "queue_full"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotFound(SwapboardError):
    status = 404
    code = "not_found"


class DocumentRejected(SwapboardError):
    status = 400
    code = "document_rejected"


class NothingRelevant(SwapboardError):
    status = 422
    code = "nothing_relevant"


class StoreUnavailable(SwapboardError):
    status = 503
    code = "store_unavailable"


class EngineError(SwapboardError):
    code = "engine_error"


class EngineStopped(EngineError):
    status = 503
    code = "engine_stopped"


class EngineFailed(EngineError):
    code = "engine_failed"


class BackendError(SwapboardError):
    status = 502
    code = "backend_error"


class DataError(SwapboardError):
    status = 400
    code = "data_error"


class TrainingDiverged(SwapboardError):
    """Of the training command alone; the API never answers with it."""


class EvaluationError(SwapboardError):
    status = 400
    code = "evaluation_error"
