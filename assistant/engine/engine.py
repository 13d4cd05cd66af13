"""Submit, cancel, step: owns the one worker thread."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor

from assistant.adapter_pool.pool import AdapterPool
from assistant.base_model import Base
from assistant.engine.runner import Runner
from assistant.engine.sampling import pick
from assistant.engine.scheduler import Row, Scheduler
from assistant.engine.scores import ScoreBook, TokenTexts
from assistant.engine.sequence import Sequence, State
from assistant.engine.stream import TextStream
from assistant.errors import EngineFailed, EngineStopped, QueueFull, SwapboardError
from assistant.messages import BASE, Finished, FinishReason, Scored

log = logging.getLogger(__name__)

RETRY_AFTER = 2
"""Seconds a refused client is told to wait: about what it takes for a short answer to end."""


class Engine:
    """Continuous batching over one frozen base.

    `submit`, `cancel` and the counters may be used from any thread; everything else happens on the worker.

    Args:
        max_queue: most sequences that wait; beyond it `submit` raises QueueFull.
        threads: processor threads of the worker; every other thread of the process computes with one.
    """

    def __init__(
        self,
        base: Base,
        runner: Runner,
        pool: AdapterPool,
        max_batch: int,
        max_queue: int,
        prefill_chunk: int,
        threads: int = 1,
    ) -> None:
        self.base = base
        self.pool = pool
        self.scheduler = Scheduler(pool, runner.cache, max_batch, prefill_chunk)
        self._runner = runner
        self._texts = TokenTexts(base.tokenizer)
        self._max_queue = max_queue
        self._threads = threads
        self._inbox: list[Sequence] = []
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._has_started = threading.Event()
        self._is_stopping = False
        self._why_stopped = "the server is shutting down"
        self._worker = threading.Thread(target=self._work, name="engine", daemon=True)
        self.steps = self.prefilled_tokens = self.decoded_tokens = 0
        self.batch_rows: Counter[int] = Counter()
        pool.on_change = self.wake

    def start(self) -> None:
        self._worker.start()
        self._has_started.wait()
        # For every thread that computes later. OpenMP keeps a team of helpers for each thread that ever computed
        # in parallel, and once there are more of them than processors it lets all of them sleep between products
        # instead of spin: a step of the worker then takes almost twice as long.
        torch.set_num_threads(1)

    def stop(self) -> None:
        """End every request with EngineStopped; returns when the worker has ended."""
        self._is_stopping = True
        self.wake()
        if self._worker.is_alive():
            self._worker.join()
        self._fail_all(EngineStopped(self._why_stopped))

    @property
    def is_alive(self) -> bool:
        """Whether requests are computed: False before the start, at the end, and once the worker has died."""
        return self._worker.is_alive() and not self._is_stopping

    def submit(self, sequence: Sequence) -> None:
        """Raises QueueFull or EngineStopped."""
        with self._lock:
            if self._is_stopping:
                raise EngineStopped(self._why_stopped)
            waiting = self.waiting
            free = self.scheduler.max_batch - len(self.scheduler.running)
            if waiting >= self._max_queue + free:
                raise QueueFull(f"{waiting} requests wait already; retry in {RETRY_AFTER} s", RETRY_AFTER)
            self._inbox.append(sequence)
        self.wake()

    def cancel(self, sequence: Sequence) -> None:
        """The sequence takes part in no further step."""
        sequence.cancel()
        self.wake()

    def wake(self) -> None:
        self._news.set()

    @property
    def waiting(self) -> int:
        """Requests that are not running yet."""
        return len(self.scheduler.waiting) + len(self._inbox)

    def step(self) -> bool:
        """Schedule, run, postprocess. False when there was nothing to run."""
        rows = self.scheduler.schedule()
        # Before the return: what is unloaded while nothing runs gives its memory back, too.
        self._runner.keep_only(entry.weights for entry in self.pool.entries())
        if not rows:
            return False
        logits, foretelling, rewards = self._runner.run(rows)
        sampling = [row.sequence for row in rows if row.samples]
        for sequence in sampling:
            sequence.reward = rewards.get(sequence.id)
        # Copies: picking writes penalties and limits into the logits.
        plain = {s.id: logits[[i]] for i, s in enumerate(sampling) if s.decoding.logprobs is not None}
        picked = {s.id: token for s, token in zip(sampling, pick(logits, sampling), strict=True)}
        self._postprocess(rows, picked, foretelling, plain)
        return True

    def check_integrity(self) -> None:
        """Raises RuntimeError where pool and cache disagree with what is running."""
        self.pool.check_integrity()
        self._runner.cache.check_integrity()
        leases = sum(s.lease is not None for s in self.scheduler.running)
        if leases != sum(entry.leases for entry in self.pool.entries()):
            raise RuntimeError(f"{leases} running sequences hold leases; {self.pool!r}")

    def _book(self, sequence: Sequence) -> ScoreBook:
        if sequence.scores is None:
            top = sequence.decoding.logprobs or 0
            if sequence.scores_prompt:
                sequence.scores = ScoreBook(self._texts, top, opening=sequence.prompt[0])
            else:
                sequence.scores = ScoreBook(self._texts, top, before=sequence.goes_on_from)
        book: ScoreBook = sequence.scores
        return book

    def _postprocess(
        self, rows: list[Row], picked: dict[int, int | None], foretelling: dict[int, Tensor], plain: dict[int, Tensor]
    ) -> None:
        """All by sequence: the token picked or None, the logits for prompt tokens to score, and those it was picked from."""
        self.steps += 1
        self.batch_rows[len(rows)] += 1
        for row in rows:
            sequence = row.sequence
            self.prefilled_tokens += row.count if sequence.is_prefilling else 0
            self.scheduler.advance(row)
            if sequence.id in foretelling:
                book = self._book(sequence)
                book.prompt += book.read(foretelling[sequence.id], [sequence.prompt[i] for i in row.foretold])
            if row.samples and (token := picked[sequence.id]) is not None:
                if sequence.stream is None:
                    self._open(sequence)
                if sequence.max_tokens:
                    self.decoded_tokens += 1
                    self._append(sequence, token, plain.get(sequence.id))
                else:
                    self._end(sequence, "length", "")
            elif row.samples:
                name = sequence.adapter.name if sequence.adapter else BASE
                error = EngineFailed(f"{name!r} computed NaN or infinite scores; its answer was ended")
                self._finish(sequence, State.FAILED, error)

    def _append(self, sequence: Sequence, token: int, logits: Tensor | None) -> None:
        """Take the next token into the answer, and its score where there are `logits`; end it where it is complete."""
        if not sequence.generated:
            sequence.first_token = time.perf_counter()
        sequence.tokens.append(token)
        if logits is not None:
            book = self._book(sequence)
            book.answer += book.read(logits, [token])
        stream: TextStream = sequence.stream
        reason: FinishReason | None = None
        if token in self.base.stop_ids:
            reason = "stop"
        else:
            if sequence.constraint is not None:
                sequence.constraint.advance(token)
            if text := stream.push(token):
                self._emit(sequence, text)
        if stream.is_stopped:
            reason = "stop"
        elif reason is None and sequence.generated >= sequence.max_tokens:
            reason = "length"
        if reason is not None:
            self._end(sequence, reason, stream.finish())

    def _open(self, sequence: Sequence) -> None:
        """The prompt is read: begin the text."""
        sequence.stream = TextStream(self.base.tokenizer, sequence.decoding.stop, before=sequence.goes_on_from)
        if sequence.scores_prompt:
            self._book(sequence)  # even a prompt of one token has its entry
        if sequence.echo:
            self._emit(sequence, self._texts.whole(sequence.prompt))

    def _end(self, sequence: Sequence, reason: FinishReason, text: str) -> None:
        """`text` is what the stream held back."""
        if text or sequence.scores is not None:
            self._emit(sequence, text)
        self._finish(sequence, State.FINISHED, sequence.summary(reason))

    def _finish(self, sequence: Sequence, state: State, last: Finished | SwapboardError) -> None:
        """End a sequence, then say so: whoever has their answer may unload the adapter at once.

        It is said even where ending it fails, as it may on a device that has failed: the cache is written to.
        """
        try:
            self.scheduler.finish(sequence, state)
        finally:
            sequence.tell(last)

    def _emit(self, sequence: Sequence, text: str) -> None:
        book: ScoreBook | None = sequence.scores
        if book is None:
            sequence.tell(text)
        elif (scores := book.take()) or text:
            sequence.tell(Scored(text=text, scores=scores))

    # The worker ----------------------------------------------------------------------------------

    def _work(self) -> None:
        torch.set_num_threads(self._threads)
        # PyTorch gives a thread its number only when it first asks, and then the number that was set last, by
        # whichever thread: asked for after `start` has set 1, it would be 1 here as well.
        torch.get_num_threads()
        self._has_started.set()
        try:
            while not self._is_stopping:
                self._round()
        except BaseException as failure:  # whatever it is: requests must not wait for a worker that is gone
            log.critical("the engine cannot go on", exc_info=failure)
            self._break_down(failure)

    def _round(self) -> None:
        """Take in what has arrived and run one step, or wait where there is nothing to run."""
        self._news.clear()
        self._take_in()
        try:
            is_busy = self.step()
        except Exception as failure:
            log.exception("a step failed")
            if problems := self._fail(self.scheduler.running, EngineFailed(f"the step failed: {failure!r}")):
                raise problems[0] from failure
            is_busy = True
        # Asked again: a `stop` just before the clearing above has lost its wake-up call.
        if not is_busy and not self._is_stopping:
            self._news.wait()

    def _take_in(self) -> None:
        with self._lock:
            arrived, self._inbox = self._inbox, []
        for sequence in arrived:
            self.scheduler.add(sequence)

    def _break_down(self, failure: BaseException) -> None:
        """Refuse what comes from now on, and tell everyone who waits."""
        self._why_stopped = f"the engine failed and has stopped, start the server again: {failure!r}"
        with self._lock:
            self._is_stopping = True
        self._fail_all(EngineStopped(self._why_stopped))

    def _fail_all(self, error: EngineStopped) -> None:
        self._take_in()
        self._fail([*self.scheduler.running, *self.scheduler.waiting], error)

    def _fail(self, sequences: Iterable[Sequence], error: SwapboardError) -> list[Exception]:
        """End all of them with the error, whatever ending any of them raises, which is returned."""
        problems = []
        for sequence in list(sequences):
            try:
                self._finish(sequence, State.FAILED, error)
            except Exception as problem:
                log.exception("request %d could not be ended", sequence.id)
                problems.append(problem)
        return problems
