"""Computes the missing rows: one pass over the images for all banks together."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from featurebank.augment import augment
from featurebank.bank.background import BackgroundWriter
from featurebank.bank.index import contained
from featurebank.bank.items import Items
from featurebank.dataset import Dataset
from featurebank.dataset.decoding.decode import in_flight
from featurebank.dataset.decoding.levels import Levels
from featurebank.engine.feed import Bad, Batch, Prepared, feed
from featurebank.errors import BadImageError, DatasetError
from featurebank.extraction.losses import Losses
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.plan import ExtractionJob, schedule
from featurebank.extraction.state import state_of
from featurebank.extraction.target import Running, Target
from featurebank.system.meter import Meter
from featurebank.system.progress import Advance, Reporter
from featurebank.system.runtime import threads
from featurebank.words import counted


class Lane(NamedTuple):
    """The destination of a batch: the number of a bank, and the taps that it lacks."""

    bank: int
    taps: tuple[str, ...]


@dataclass
class ExtractionRun:
    """One running extraction, which holds the locks of its banks."""

    dataset: Dataset
    targets: Sequence[Target]
    options: ExtractOptions
    reporter: Reporter
    meter: Meter
    bad: dict[bytes, str] = field(default_factory=dict)
    """The reason for each image that cannot be decoded, by its content digest."""

    def run(self) -> None:
        """Computes all missing rows.

        Raises:
            ConfigError: a tap is already stored with another dtype than requested.
            DatasetError: an image cannot be used, and the options say "fail", or too many cannot.
        """
        self._refuse_unreadable()
        unreadable = self.dataset.unreadable
        self._place = np.zeros(len(self.dataset), np.int64)  # position of each image in the order of reading
        self._losses = Losses(len(self.dataset), self.dataset.spec, self.options.max_bad)
        if unreadable:
            self._losses.add_unreadable(len(unreadable), unreadable[0].id, unreadable[0].reason)
        contents, first = np.unique(self.dataset.digests, return_index=True)
        self._contents, self._first = contents, first
        self._look_again_at_bad_ones()
        wanted = contents[(contents != b"") & ~np.isin(contents, self._bad_contents())]
        if jobs := [job for target in self.targets for job in target.take_shared(wanted)]:
            self._compute(jobs)

    def busy(self, seconds: float) -> dict[str, float]:
        """Returns the fraction of the time that each part of the pipeline worked; for decoding, over all threads."""
        return {
            "decode": self.meter.share("decode", seconds, threads()), "forward": self.meter.share("forward", seconds),
            "write": self.meter.share("write", seconds), "load": self.meter.share("load", seconds),
        }  # fmt: skip

    def finish(self, seconds: float) -> int:
        """Lists the images that have all rows in the banks; returns the number of distinct ones.

        Raises:
            DatasetError: no image can be used.
        """
        dataset, skipped = self.dataset, self.skipped()
        good = np.flatnonzero((dataset.digests != b"") & ~np.isin(dataset.digests, self._bad_contents()))
        if not len(good):
            reason = skipped[0]["reason"]
            message = (
                f"none of the {counted(len(dataset), 'image')} of '{dataset.spec}' can be used; the first: {reason}"
            )
            raise DatasetError(message)
        items = Items(dataset.ids, dataset.digests, dataset.labels, dataset.splits, dataset.metadata).take(good)
        for target in self.targets:
            target.finish(items, skipped, seconds, self.busy(seconds))
        return len(np.unique(items.digests))

    def skipped(self) -> list[dict[str, str]]:
        """Returns `id`, `reason` and (if readable) `digest` of each image without a row, sorted by id."""
        entries = [{"id": s.id, "reason": s.reason} for s in self.dataset.unreadable]
        for index in np.flatnonzero(np.isin(self.dataset.digests, self._bad_contents())).tolist():
            content = bytes(self.dataset.digests[index])
            entries.append({"id": self.dataset.ids[index], "reason": self.bad[content], "digest": content.decode()})
        return sorted(entries, key=lambda entry: entry["id"])

    def _refuse_unreadable(self) -> None:
        if self.options.on_bad_image == "fail" and self.dataset.unreadable:
            first = self.dataset.unreadable[0]
            raise _bad_image(first.id, first.reason)

    def _look_again_at_bad_ones(self) -> None:
        """Decodes what could not be decoded last time: no engine is needed for images that still cannot."""
        known = np.concatenate([state_of(target.writer.contents).bad for target in self.targets])
        again = self._first[np.isin(self._contents, known)].tolist()

        def decode(index: int) -> Prepared[Lane]:
            with in_flight():
                for levels in dict.fromkeys(target.backbone.levels for target in self.targets):
                    self._image(index, levels)
            return ()

        for item in feed(decode, again, self.options.batch_size):
            self._note(item)

    def _note(self, item: Bad | Batch[Lane]) -> None:
        if not isinstance(item, Bad):
            self._losses.good(int(self._place[item.indices].max()))
            return
        if self.options.on_bad_image == "fail":
            raise _bad_image(self.dataset.ids[item.index], item.reason)
        self._losses.add(self.dataset.ids[item.index], item.reason, place=int(self._place[item.index]), lost=item.lost)
        self.bad[bytes(self.dataset.digests[item.index])] = item.reason

    def _bad_contents(self) -> np.ndarray:
        return np.array(list(self.bad), dtype="S32")

    def _compute(self, jobs: Sequence[ExtractionJob]) -> None:
        rows = sum(len(job.digests) for job in jobs)
        unit = "images" if len({(job.bank, job.view) for job in jobs}) == 1 else "rows"
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(BackgroundWriter(t.writer, self.meter)) for t in self.targets]
            for target in self.targets:
                stack.callback(target.close)
            advance = stack.enter_context(self.reporter.track("extract", rows, unit))
            batches = stack.enter_context(contextlib.closing(self._batches(jobs)))
            self._forward(batches, writers, advance)

    def _forward(
        self, batches: Iterator[Batch[Lane] | Bad], writers: Sequence[BackgroundWriter], advance: Advance
    ) -> None:
        """Keeps the engines busy: submits the next batches before it stores the features of the first."""
        running: deque[tuple[Target, Running]] = deque()

        def take() -> None:
            target, first = running.popleft()
            advance(target.store(first, self.dataset, writers[target.number]))

        for batch in batches:
            self._note(batch)
            if isinstance(batch, Bad):
                continue
            target = self.targets[batch.lane.bank]
            depth = target.depth(batch.lane.taps)
            while len(running) >= depth:
                take()
            self.meter.start("forward")  # before `submit`, because some engines compute before it returns
            sent = target.submit(batch.lane.taps, batch)
            sent.parts[-1].add_done_callback(lambda _: self.meter.stop("forward"))
            running.append((target, sent))
        while running:
            take()
        self._losses.end()
        for target in self.targets:
            target.tell_precision()  # the comparison is still open if there were few images

    def _batches(self, jobs: Sequence[ExtractionJob]) -> Generator[Batch[Lane] | Bad, None, None]:
        """Decodes each image once, and prepares the input of each network in each missing view."""
        distinct, numbers, bounds = schedule(jobs)
        indices = self._first[contained(self._contents, distinct)]
        place = self._place
        place[indices] = np.arange(len(indices))

        def prepare(index: int) -> Prepared[Lane]:
            with self.meter.working("decode"), in_flight():
                return prepared_for(index, place[index])

        def prepared_for(index: int, position: int) -> Prepared[Lane]:
            images: dict[Levels | None, np.ndarray] = {}
            clean: dict[tuple[int, str, Levels | None], np.ndarray] = {}
            prepared = []
            for number in numbers[bounds[position] : bounds[position + 1]].tolist():
                job = jobs[number]
                backbone = self.targets[job.bank].backbone
                square = backbone.image_size, backbone.resize_rule, backbone.levels
                if square not in clean:
                    if backbone.levels not in images:
                        images[backbone.levels] = self._image(index, backbone.levels)
                    clean[square] = backbone.resize(images[backbone.levels])
                image = self._view(clean[square], index, job.view)
                prepared.append((Lane(job.bank, job.taps), job.view, image))
            return prepared

        return feed(prepare, map(int, indices), self.options.batch_size)

    def _image(self, index: int, levels: Levels | None) -> np.ndarray:
        """Decodes an image; if its file has gone or changed meanwhile, decodes a duplicate of it."""
        try:
            return self.dataset.image(index, levels)
        except BadImageError:
            for other in np.flatnonzero(self.dataset.digests == self.dataset.digests[index]).tolist():
                if other != index:
                    with contextlib.suppress(BadImageError):
                        return self.dataset.image(other, levels)
            raise

    def _view(self, image: np.ndarray, index: int, view: int) -> np.ndarray:
        if view == 0:
            return image
        assert self.options.augmentation, "a bank with views has a recipe of them"
        digests = self.dataset.digests[index : index + 1]
        return np.squeeze(augment(image[np.newaxis], self.options.augmentation, digests, view), axis=0)


def _bad_image(name: str, reason: str) -> DatasetError:
    return DatasetError(f"image '{name}' cannot be used: {reason}; repair or remove it, or use --on-bad-image skip")
