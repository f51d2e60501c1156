"""A folder tree denoised into another: plan, do, commit, remember."""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from types import TracebackType

from nlm import registry
from nlm.batch.companions import Companions, absolute
from nlm.batch.executors import run
from nlm.batch.jobs import Executor, Job, JobResult, Tell, tell_nobody
from nlm.batch.lock import Lock
from nlm.batch.manifest import KEPT, Manifest, Record, fingerprint
from nlm.batch.outcome import Outcome, failed, size, skipped
from nlm.batch.plan import Task, accompany, check_folders, largest_first, measure, settle, targets
from nlm.batch.staging import Staging, put_in_place
from nlm.batch.tree import OWN, Tree, walk
from nlm.errors import FileError, NlmError
from nlm.inputs import check_ability
from nlm.io.formats import by_name
from nlm.io.output import write_problem
from nlm.pipeline import FileResult, denoise_file
from nlm.settings import Settings


class Folder:
    """All of one folder's pictures into another, whatever interrupts it.

    Use as a context manager: a run that writes holds the lock of `dst` meanwhile.

    Parameters
    ----------
    src, dst : str
        `dst` is made; it may lie in `src`.
    settings : Settings
        Its `guide` and `sigma_map` are files for all pictures, or folders like `src` with one for
        each, whose suffix may be another.
    include, exclude : sequence of str
        Globs, see `nlm.batch.tree.walk`.
    resume : bool
        Leave alone what is done; False = do it again.
    force : bool
        Overwrite outputs that this batch did not make.
    dry_run : bool
        Check everything, write nothing.

    Attributes
    ----------
    tree : Tree
    tasks : list of Task
        All files, by name; settled when the context has been entered.

    Raises
    ------
    UsageError
        If a folder cannot be what it should be, the method cannot do what is asked for, or
        another run writes to `dst`.
    """

    def __init__(
        self,
        src: str,
        dst: str,
        settings: Settings | None = None,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        resume: bool = True,
        force: bool = False,
        dry_run: bool = False,
    ) -> None:
        check_folders(src, dst)
        self.src, self.dst = src, dst
        self.settings = settings or Settings()
        volume, guided = self.settings.stack == "volume", self.settings.guide is not None
        check_ability(registry.get(self.settings.method), volume, guided)
        self.options = fingerprint(self.settings)
        self.companions = Companions(self.settings, src, dst)
        if self.settings.format is not None:
            by_name(self.settings.format)  # wrong usage is said before any work
        self.resume, self.force, self.dry_run = resume, force, dry_run
        self._include, self._exclude = include, exclude
        self._own = os.path.join(dst, OWN)
        self._lock: Lock | None = None
        self._staging: Staging | None = None
        self.tree = Tree()
        self.tasks: list[Task] = []

    def __enter__(self) -> "Folder":
        try:
            if not self.dry_run:
                self._prepare()
            self.manifest = Manifest(os.path.join(self._own, "manifest.jsonl"))
            if not self.dry_run:
                self.manifest.open()
            self._plan()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError) and not isinstance(error, NlmError):
                raise write_problem(self.dst, error) from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        os.makedirs(self._own, exist_ok=True)
        self._lock = Lock(os.path.join(self._own, "lock"), self.dst)
        self._staging = Staging(os.path.join(os.path.abspath(self._own), "work"))

    def _plan(self) -> None:
        without = (self.dst, *self.companions.paths)
        self.tree = walk(self.src, include=self._include, exclude=self._exclude, without=without)
        self.tasks = targets(self.tree.files, self.settings.format)
        for task in self.tasks:
            accompany(task, self.companions)
            settle(
                task, self.src, self.dst, self.manifest, self.options,
                resume=self.resume, force=self.force,
            )  # fmt: skip
        for task in self.todo:
            measure(task, self.src, self.settings)

    @property
    def todo(self) -> list[Task]:
        """What is left to do."""
        return [task for task in self.tasks if not (task.done or task.problem or task.lacks)]

    def run(
        self, executor: Executor | None = None, tell: Tell = tell_nobody
    ) -> Generator[Outcome, None, None]:
        """Do what is left.

        Parameters
        ----------
        executor : Executor, optional
            See `nlm.batch.run`.
        tell : callable, optional
            Receives the executor's events.

        Yields
        ------
        Outcome
            One for every file and every folder that could not be read. Closing the iterator stops
            the work; what is done stays done.
        """
        yield from self._without_work()
        if self.dry_run:
            yield from map(self._check, self.todo)
            return
        tasks = largest_first(self.todo)
        jobs = [self._job(number, task) for number, task in enumerate(tasks)]
        of_job = {job.target: task for job, task in zip(jobs, tasks, strict=True)}
        with closing(run(jobs, executor, tell)) as results:
            for result in results:
                yield self._commit(of_job[result.job.target], result)

    def _without_work(self) -> Iterator[Outcome]:
        for below, reason in self.tree.trouble:
            folder = os.path.join(self.src, below)
            error = f"{folder}: this folder cannot be read ({reason}); change its access rights"
            yield failed(folder, os.path.join(self.dst, below), self.settings, error)
        for task in self.tasks:
            source, target = self._input(task), self._output(task)
            if task.problem:
                yield failed(source, target, self.settings, f"{target}: {task.problem}")
            elif task.lacks:
                yield failed(source, target, self.settings, f"{source}: {task.lacks}")
            elif task.done:
                yield skipped(source, target, self.settings, task.done)

    def _job(self, number: int, task: Task) -> Job:
        assert self._staging is not None
        return Job(
            os.path.abspath(self._input(task)),
            self._staging.place(number, task.target),
            self.settings.with_files(absolute(task.files)),
            force=True,
            pixels=task.pixels,
            memory=task.memory,
        )

    def _commit(self, task: Task, result: JobResult) -> Outcome:
        """Put a finished output in its place."""
        job, source, target = result.job, self._input(task), self._output(task)
        words = result.file.error and self._said(task, result.file.error, job)
        file = replace(result.file, input=source, output=target, error=words)
        try:
            if result.source is None or result.output is None:
                raise FileError(str(words))
            self._refuse_stranger(task, target)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            self.manifest.add(self._record(task, file, result))
            put_in_place(job.target, target)
        except OSError as error:
            problem = error if isinstance(error, NlmError) else write_problem(target, error)
            outcome = failed(source, target, self.settings, str(problem), result.attempts)
            return replace(outcome, pixels=task.pixels)
        return Outcome(file, result.attempts, result.source.size, result.output.size, task.pixels)

    def _refuse_stranger(self, task: Task, target: str) -> None:
        """Protect what was put at a target since the plan was made."""
        if task.over is None and not self.force and size(target):
            raise FileError(f"{target}: appeared during the run; move it away, or use --force")

    def _said(self, task: Task, words: str, job: Job | None = None) -> str:
        """An error in the paths that people gave, about a file of theirs."""
        source, target = self._input(task), self._output(task)
        if job is not None:
            words = words.replace(job.target, target).replace(job.source, source)
        for name, path in absolute(task.files).items():
            words = words.replace(path, task.files[name])
        return words if source in words or target in words else f"{source}: {words}"

    def _record(self, task: Task, file: FileResult, result: JobResult) -> Record:
        assert result.source is not None
        assert result.output is not None
        return Record(
            task.target,
            task.source,
            self.options,
            result.source,
            result.output,
            task.over,
            {name: getattr(file, name) for name in KEPT},
            result.files,
        )

    def _check(self, task: Task) -> Outcome:
        """What a dry run says of a file."""
        source, target = self._input(task), self._output(task)
        settings = self.settings.with_files(task.files)
        try:
            planned = denoise_file(source, target, settings, force=True, dry_run=True)
        except NlmError as error:
            return failed(source, target, settings, self._said(task, str(error)))
        return Outcome(planned, 0, size(source), None, task.pixels)

    def _input(self, task: Task) -> str:
        return os.path.join(self.src, task.source)

    def _output(self, task: Task) -> str:
        return os.path.join(self.dst, task.target)

    def close(self) -> None:
        """Let others in; unfinished outputs vanish."""
        if self._staging is not None:
            self._staging.remove()
        if hasattr(self, "manifest"):
            self.manifest.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
