"""Where a search keeps what it tried: a journal that several processes append to, on Optuna."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, get_args

from recprune.errors import RecpruneError
from recprune.evaluation import Interval
from recprune.pruning.estimate import Tradeoff
from recprune.pruning.recipe import Recipe
from recprune.pruning.space import Fit
from recprune.pruning.trials import Trial

__all__ = ["MADE_UP", "Store", "alone"]

_FIRST = 24  # prices of the first frontier
MADE_UP = (0.1, 0.03)  # of what a cut width loses, about so much stays after retraining
_TRUST = (0.2, 5.0)


class Store:
    """The trials of one search, by the name of what is searched: another model in the same file is another search.

    `name`: of the study. `fits`: whether `fit_bytes` can act on the model. `retrained`: whether what is tried is. Every
    method reads the file anew, so that all processes see the same.
    """

    def __init__(self, path: Path, name: str, tradeoff: Tradeoff, fits: bool, retrained: bool) -> None:
        journal = _journal(path)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna, self.path, self.tradeoff, self.fits, self.retrained = optuna, path, tradeoff, fits, retrained
        path.parent.mkdir(parents=True, exist_ok=True)
        self.study = optuna.create_study(
            storage=optuna.storages.JournalStorage(journal),
            study_name=name,
            directions=["minimize", "minimize"],
            load_if_exists=True,
        )

    def enqueue(self, point: Mapping[str, Any], fit: Fit = "no", size: int = 0) -> bool:
        """Try this point before anything that is proposed; parts that it does not name are trusted as measured.

        `fit`: see `Space.recipe`; with so many bytes. False, and nothing to do, where it was asked for before.
        """
        asked = json.dumps([dict(point), fit, size], sort_keys=True)
        if any(t.user_attrs.get("asked") == asked and not self._stopped(t) for t in self._listed()):
            return False
        self._enqueue(dict(point) | {"fit": fit}, {"asked": asked, **({"bytes": size} if size else {})})
        return True

    def _enqueue(self, point: Mapping[str, Any], attrs: Mapping[str, Any]) -> None:
        names = [*self.tradeoff.kinds, *self.tradeoff.parts]
        given = {"price": point["price"], **{name: point.get(name, 1.0) for name in names}}
        fits = {"fit": point["fit"]} if self.fits else {}
        self.study.enqueue_trial(given | fits, user_attrs=dict(attrs))

    def _listed(self) -> list[Any]:
        return list(self.study.get_trials(deepcopy=False))

    def _stopped(self, trial: Any) -> bool:
        """Whether it failed by a kill, or Ctrl-C: not for what it is."""
        return trial.state == self._optuna.trial.TrialState.FAIL and not {"error", "repeated"} & trial.user_attrs.keys()

    def ask(self, seed: tuple[int, ...], near: float | None = None) -> tuple[Any, int, dict[str, int], Fit]:
        """The next trial, the bytes of its parts, its settings, and what it leaves to `fit_bytes`.

        It is a point that is waiting, or one that is proposed (TPE: Ozaki et al. 2022): a price of a byte, and how often
        the measured drops of each kind and part count. So every proposal is the best for some view of what was measured,
        and what is learned is where that view was wrong. Every second proposal has a price between half and twice `near`.
        """
        # A seed for each trial: a search that goes on after a kill does not propose what it proposed before.
        number = len(self._listed())
        mixed = int.from_bytes(_digest([*seed, number])[:4], "big")
        prices = self.tradeoff.prices(_FIRST)
        low, high = prices[0], max(prices[-1], prices[0] * 1.01)
        self.study.sampler = self._optuna.samplers.TPESampler(n_startup_trials=_FIRST, seed=mixed)
        if near is not None and number % 2 and not self.waiting():
            # Only the price is given; everything else is proposed.
            self.study.enqueue_trial({"price": min(max(near * 2.0 ** Random(mixed).uniform(-1, 1), low), high)})
        trial = self.study.ask()
        price = trial.suggest_float("price", low, high, log=True)
        low_of = {"width": min(MADE_UP)}
        trust = {
            name: trial.suggest_float(name, low_of.get(name, _TRUST[0]), _TRUST[1], log=True)
            for name in (*self.tradeoff.kinds, *self.tradeoff.parts)
        }
        fit: Fit = trial.suggest_categorical("fit", get_args(Fit)) if self.fits else "no"
        size, settings = self.tradeoff.best(price, trust)
        return trial, size, settings, fit

    def claim(self, trial: Any, recipe: Recipe) -> bool:
        """Take a recipe; False where it was tried, or is being tried by another process."""
        text = json.dumps(recipe.to_json(), sort_keys=True)
        trial.set_user_attr("recipe", text)
        # One that failed for another reason than the recipe itself (a kill, a repetition) is no claim.
        failed = self._optuna.trial.TrialState.FAIL
        taken = [t for t in self._listed() if t.state != failed or "error" in t.user_attrs]
        return not any(t.number != trial.number and t.user_attrs.get("recipe") == text for t in taken)

    def finish(self, trial: Any, values: tuple[float, float], found: Mapping[str, Any]) -> None:
        """A trial that was judged: `values` are to be small."""
        trial.set_user_attr("found", json.dumps(found))
        self.study.tell(trial, values)

    def fail(self, trial: Any, why: str, text: str = "") -> None:
        """`why`: `error` (it cannot be done), `repeated`, or `stopped` (it will be tried again)."""
        trial.set_user_attr(why, text)
        self.study.tell(trial, state=self._optuna.trial.TrialState.FAIL)

    def recover(self) -> int:
        """Put back what was running when a search was killed; gives how many. Only while no other search is at work."""
        state = self._optuna.trial.TrialState
        running = self.study.get_trials(deepcopy=False, states=[state.RUNNING])
        for trial in running:
            self.study.tell(trial.number, state=state.FAIL)
            if "price" in trial.params:
                self._enqueue(
                    trial.params, {k: trial.user_attrs[k] for k in ("asked", "bytes") if k in trial.user_attrs}
                )
        return len(running)

    @property
    def empty(self) -> bool:
        """Whether nothing was ever asked for."""
        return not self._listed()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep the other processes of a search from taking a trial meanwhile."""
        with self.path.with_suffix(".turn.held").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def waiting(self) -> int:
        """How many points are in line."""
        return self._count(self._optuna.trial.TrialState.WAITING)

    def running(self) -> int:
        """How many are being tried."""
        return self._count(self._optuna.trial.TrialState.RUNNING)

    def done(self) -> int:
        """Trials that were judged; or cannot be, which of those that are retrained do not count."""
        return self._count(self._optuna.trial.TrialState.COMPLETE) + (0 if self.retrained else len(self.failures()))

    def failures(self) -> dict[int, str]:
        """Why some cannot be, by number."""
        return {t.number: t.user_attrs["error"] for t in self._listed() if "error" in t.user_attrs}

    def _count(self, state: Any) -> int:
        return len(self.study.get_trials(deepcopy=False, states=[state]))

    def trials(self) -> list[tuple[Trial, dict[str, Any]]]:
        """What was judged, with its point."""
        complete = [self._optuna.trial.TrialState.COMPLETE]
        result = []
        for trial in self.study.get_trials(deepcopy=False, states=complete):
            found = json.loads(trial.user_attrs["found"])
            recipe = Recipe.from_json(json.loads(trial.user_attrs["recipe"]))
            differences = {metric: Interval(**of) for metric, of in found["differences"].items()}
            one = Trial(
                trial.number,
                recipe,
                found["disk_bytes"],
                differences,
                found["others"],
                found["us"],
                found["folder"],
                self.retrained,
            )
            result.append((one, dict(trial.params)))
        return result


def _digest(value: Any) -> bytes:
    import hashlib

    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()


def _journal(path: Path) -> Any:
    try:
        from recprune.pruning.journal import Journal
    except ImportError:
        raise RecpruneError("searching needs Optuna: pip install 'recprune[search]'") from None
    return Journal(path)


@contextmanager
def alone(path: Path, say: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Hold a journal, mended where it was damaged, for one search and its workers.

    Raises RecpruneError where another search holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".held").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RecpruneError(f"{path} is in use by another search; wait for it, or stop it") from None
        _journal(path).mend(say)
        yield
