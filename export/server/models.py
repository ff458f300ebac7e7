"""Which versions of which models answer: polling, hand-over, labels, status."""

import contextlib
import dataclasses
import gc
import logging
import threading
import time
from collections.abc import Mapping

import tensorflow as tf

from export.server.loaded import LoadedVersion
from export.server.protocols.metrics import Metrics
from export.server.requests.errors import Code, RequestError, invalid
from export.server.requests.limits import Limits
from export.version import layout
from mm_models.errors import UserError

logger = logging.getLogger(__name__)
MAX_LOAD_ATTEMPTS = 3


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """One model.

    Attributes:
        name: name in requests.
        base_path: folder of numbered version directories; may be a remote URL.
        num_latest: serve this many of the newest versions; 0 serves all.
        versions: serve exactly these instead.
        labels: version label → version.
    """

    name: str
    base_path: str
    num_latest: int = 1
    versions: tuple[int, ...] = ()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def wanted(self, present: list[int]) -> list[int]:
        """The versions to serve of those `present`, newest first."""
        newest_first = sorted(present, reverse=True)
        if self.versions:
            return [number for number in newest_first if number in self.versions]
        return newest_first[: self.num_latest] if self.num_latest else newest_first


# Path, length and time of every file of a version.
_Contents = frozenset[tuple[str, int, int]]


@dataclasses.dataclass
class VersionState:
    """What ModelService tells of one version, and what loading it has come to.

    Attributes:
        state: as in `ModelVersionStatus.State`.
        error: why it does not load.
        attempts: to load the contents of `tried`.
        tried, seen: contents of the folder at the last attempt and at the last look.
    """

    state: str = "START"
    error: str = ""
    attempts: int = 0
    tried: _Contents | None = None
    seen: _Contents | None = None

    def is_due(self, contents: _Contents) -> bool:
        """Whether to try now: at once, thrice with the same contents, and whenever others have come
        and are the same at two looks, as when a slow upload ends."""
        is_settled, self.seen = contents == self.seen, contents
        if contents == self.tried:
            return self.attempts < MAX_LOAD_ATTEMPTS
        if self.tried is not None and not is_settled:
            return False
        self.attempts, self.tried = 0, contents
        return True


class Models:
    """The table of models, kept up to date by a polling thread.

    A new version is loaded and warmed before the old one leaves the table; requests that already
    hold the old one finish on it. A version that fails to load leaves the old one in place.

    Args:
        configs: models to serve.
        limits: bounds, applied to warm-up requests too.
        metrics: where versions are counted.
    """

    def __init__(self, configs: list[ModelConfig], limits: Limits, metrics: Metrics):
        self._limits, self._metrics = limits, metrics
        self._configs = {config.name: config for config in configs}
        self._loaded: dict[str, dict[int, LoadedVersion]] = {name: {} for name in self._configs}
        self._states: dict[str, dict[int, VersionState]] = {name: {} for name in self._configs}
        self._retired: list[LoadedVersion] = []
        self._table_lock = threading.Lock()
        self._poll_lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, poll_seconds: float) -> None:
        """Loads what is there now, then looks again every `poll_seconds` (0: never)."""
        self.poll()
        if poll_seconds > 0:
            self._thread = threading.Thread(
                target=self._poll_forever, args=(poll_seconds,), name="versions", daemon=True
            )
            self._thread.start()

    def stop(self, timeout_seconds: float = 60.0) -> bool:
        """Ends the polling; False where a version is still being loaded then."""
        self._stopped.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    @property
    def ready(self) -> bool:
        """Whether every model has a version that answers."""
        return all(self._loaded.values())

    def get(self, name: str, version: int | None = None, label: str | None = None) -> LoadedVersion:
        """The version that answers a request: the newest unless asked otherwise.

        Raises:
            RequestError: NOT_FOUND for an unknown model, version or label, UNAVAILABLE when none is
                loaded.
        """
        with self._table_lock:
            self._check_known(name)
            versions = self._loaded[name]
            if label:
                version = self._configs[name].labels.get(label, -1)
            if not versions:
                raise RequestError(Code.UNAVAILABLE, f"model {name!r} has no version loaded yet")
            if version is None:
                return versions[max(versions)]
            if version not in versions:
                asked = f"label {label[:80]!r}" if label else f"version {version}"
                message = f"model {name!r} does not serve {asked}; it serves {sorted(versions)}"
                raise RequestError(Code.NOT_FOUND, message)
            return versions[version]

    def states(self, name: str) -> dict[int, VersionState]:
        """Copies of the states of all versions seen, by number. Raises RequestError."""
        with self._table_lock:
            self._check_known(name)
            states = self._states[name].items()
            return {number: dataclasses.replace(state) for number, state in states}

    def _check_known(self, name: str) -> None:
        if name not in self._loaded:
            message = f"no model {name[:80]!r}; served are {sorted(self._loaded)}"
            raise RequestError(Code.NOT_FOUND, message)

    def reconfigure(self, configs: list[ModelConfig]) -> None:
        """Replaces the configuration and polls once; models left out are unloaded.

        Raises:
            RequestError: a label stands for a version that is not loaded; nothing is changed then.
        """
        before = list(self._configs.values())
        self._apply(configs)
        wrong = [self._wrong_labels(config) for config in configs]
        if any(wrong):
            self._apply(before)
            raise invalid("; ".join(filter(None, wrong)))

    def _wrong_labels(self, config: ModelConfig) -> str:
        with self._table_lock:
            loaded = sorted(self._loaded[config.name])
        labels = {label: number for label, number in config.labels.items() if number not in loaded}
        if not labels:
            return ""
        return f"labels {labels} of model {config.name!r} name versions that are not among {loaded}"

    def _apply(self, configs: list[ModelConfig]) -> None:
        with self._poll_lock, self._table_lock:
            self._configs = {config.name: config for config in configs}
            for name in self._configs:
                self._loaded.setdefault(name, {})
                self._states.setdefault(name, {})
            for name in self._loaded.keys() - self._configs.keys():
                self._retired += self._loaded.pop(name).values()
                self._states.pop(name)
        self.poll()

    def poll(self) -> None:
        """Looks for versions once: loads the new, then retires the old."""
        with self._poll_lock:
            for config in list(self._configs.values()):
                wanted = config.wanted(_present_versions(config.base_path))
                for number in wanted:
                    self._load(config, number)
                self._retire(config.name, set(wanted))
            self._drop_idle()

    def _poll_forever(self, poll_seconds: float) -> None:
        while not self._stopped.wait(poll_seconds):
            try:
                self.poll()
            except Exception:
                logger.exception("looking for versions failed; trying again")

    def _load(self, config: ModelConfig, number: int) -> None:
        state = self._states[config.name].setdefault(number, VersionState())
        if number in self._loaded[config.name]:
            return
        if not state.is_due(_contents(config.base_path, number)):
            return
        state.state, state.error, state.attempts = "LOADING", "", state.attempts + 1
        started = time.monotonic()
        logger.info("%s version %d is being loaded", config.name, number)
        try:
            version = LoadedVersion(config.name, number, _version_path(config.base_path, number))
            num_warm = version.warm(self._limits)
        except Exception as error:
            known = isinstance(error, (UserError, RequestError))
            state.state, state.error = "END", str(error) if known else "loading failed; see the log"
            logger.error("%s version %d: %s", config.name, number, error, exc_info=not known)
            return
        seconds = time.monotonic() - started
        with self._table_lock:
            self._loaded[config.name][number] = version
            state.state, state.attempts, state.tried = "AVAILABLE", 0, None
        self._metrics.version_available.labels(config.name, str(number)).set(1)
        self._metrics.load_seconds.labels(config.name, str(number)).set(seconds)
        logger.info(
            "%s version %d loaded, %d warm-up requests, %.2f s",
            *(config.name, number, num_warm, seconds),
        )

    def _retire(self, name: str, wanted: set[int]) -> None:
        with self._table_lock:
            versions = self._loaded[name]
            # Nothing is dropped before a wanted version answers.
            if not wanted & set(versions):
                return
            for number in [number for number in versions if number not in wanted]:
                self._retired.append(versions.pop(number))
                self._states[name][number].state = "UNLOADING"

    def _drop_idle(self) -> None:
        idle = [version for version in self._retired if version.in_flight == 0]
        if not idle:
            return
        self._retired = [version for version in self._retired if version not in idle]
        for version in idle:
            with self._table_lock, contextlib.suppress(KeyError):
                self._states[version.model_name][version.number].state = "END"
            self._metrics.version_available.labels(version.model_name, str(version.number)).set(0)
            logger.info("%s version %d unloaded", version.model_name, version.number)
        del idle, version
        gc.collect()


def _version_path(base_path: str, number: int) -> str:
    for name in tf.io.gfile.listdir(base_path):
        if layout.version_number(name.rstrip("/")) == number:
            return f"{base_path.rstrip('/')}/{name.rstrip('/')}"
    raise UserError(f"{base_path} no longer holds version {number}")


def _contents(base_path: str, number: int) -> _Contents:
    """Empty while the folder cannot be read."""
    found = []
    with contextlib.suppress(tf.errors.OpError, UserError):
        for folder, _, names in tf.io.gfile.walk(_version_path(base_path, number)):
            for name in names:
                stat = tf.io.gfile.stat(f"{folder}/{name}")
                found.append((f"{folder}/{name}", stat.length, stat.mtime_nsec))
    return frozenset(found)


def _present_versions(base_path: str) -> list[int]:
    try:
        names = tf.io.gfile.listdir(base_path)
    except tf.errors.OpError:
        return []
    numbers = (layout.version_number(name.rstrip("/")) for name in names)
    return sorted({number for number in numbers if number is not None})
